// npm's `ws`, which can also ping.
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';

import { play } from './cases.mjs';
import { base, offersDeflate, plan, report } from './plan.mjs';

const { WebSocket } = createRequire(`${process.env.MODULES}/`)('ws');
const options = { perMessageDeflate: offersDeflate, rejectUnauthorized: false };
const open = (path, protocols = []) => new WebSocket(base + path, protocols, options);

async function ping() {
  const socket = open('/echo');
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
  for (const length of [0, 4, 125]) {
    const sent = randomBytes(length);
    const pong = new Promise((resolve, reject) => {
      socket.once('pong', resolve);
      setTimeout(() => reject(new Error('no pong for 8000 ms')), 8000).unref();
    });
    socket.ping(sent);
    if (!sent.equals(await pong)) throw new Error(`a pong of other bytes than its ping of ${length}`);
  }
  socket.close(1000);
}

await play(open, plan, report);
await ping().then(() => report('ping', null), (error) => report('ping', error.message));
// A case that failed may have left a socket open, which would keep the process.
process.exit(0);
