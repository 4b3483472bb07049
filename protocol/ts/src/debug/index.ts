/** For developers: what a client does, what a bad line does to it, and whether its state is right. */
export { stateHash, verify } from "../hash.js";
export { type DebugPanel, type DebugPanelOptions, debugPanel } from "./panel.js";
export {
  type Network,
  type SimulatedWebSocket,
  type SimulateOptions,
  simulate,
} from "./simulate.js";
