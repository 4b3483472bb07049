// Node's own WebSocket.
import { play } from './cases.mjs';
import { base, plan, report } from './plan.mjs';

const open = (path, protocols = []) => new WebSocket(base + path, protocols);
await play(open, plan, report);
