// Node's own WebSocket.
import { play } from './cases.mjs';
import { base, plan, report } from './plan.mjs';

const open = (path, protocols = []) => new WebSocket(base + path, protocols);
await play(open, plan, report);
// A case that failed may have left a socket open, which would keep the process.
process.exit(0);
