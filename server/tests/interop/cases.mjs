// What a client with the browsers' WebSocket interface must see. The same code runs in Chromium,
// on Node's built-in client and on npm's `ws`; the clients in Python and Java play the same cases.
//
//   open(path, protocols)  a WebSocket that is connecting
//   plan.join              the bytes of a Join, from the golden vectors, as an array of numbers
//   plan.extensions        what the handshake must have agreed on, or '' for nothing
//   report(name, error)    called once for each case; no error means that it passed

const PATIENCE_MS = 8000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing for ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function expect(what, found, expected) {
  if (found !== expected) {
    throw new Error(`${what} is ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`);
  }
}

// The messages and the end of a socket, to be awaited one by one.
function conversation(socket) {
  socket.binaryType = 'arraybuffer';
  const messages = [];
  const waiting = [];
  socket.addEventListener('message', ({ data }) => {
    const next = waiting.shift();
    if (next) next(data); else messages.push(data);
  });
  const opened = new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve);
    socket.addEventListener('error', () => reject(new Error('the handshake failed')));
    socket.addEventListener('close', ({ code }) => reject(new Error(`closed early with ${code}`)));
  });
  // Only some cases wait for it; an error without a listener would end the process.
  opened.catch(() => {});
  const closed = new Promise((resolve) => {
    socket.addEventListener('close', ({ code, reason, wasClean }) => resolve({ code, reason, wasClean }));
  });
  return {
    socket,
    opened: () => within(opened, 'open'),
    closed: () => within(closed, 'close'),
    message: () => within(
      new Promise((resolve) => { if (messages.length) resolve(messages.shift()); else waiting.push(resolve); }),
      'message',
    ),
  };
}

function pattern(length) {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8)) & 0xff);
}

export const TEXTS = ['hello', '', 'Zoë, комната, 部屋, 🧵', 'loom '.repeat(12000)];
export const SIZES = [0, 1, 125, 126, 65535, 65536];

// The kind of a server's message: the union type in field 0 of a FlatBuffers envelope.
export function kindOf(buffer) {
  const view = new DataView(buffer);
  const table = view.getUint32(0, true);
  const vtable = table - view.getInt32(table, true);
  return view.getUint8(table + view.getUint16(vtable + 4, true));
}
const JOINED = 1;

async function finish(talk, code, reason) {
  talk.socket.close(code, reason);
  const end = await talk.closed();
  expect('code', end.code, code);
  expect('reason', end.reason, reason);
  expect('wasClean', end.wasClean, true);
}

export const CASES = {
  async text(open, plan) {
    const talk = conversation(open('/echo'));
    await talk.opened();
    expect('extensions', talk.socket.extensions.split(';')[0], plan.extensions);
    for (const text of TEXTS) {
      talk.socket.send(text);
      expect('text', await talk.message(), text);
    }
    await finish(talk, 1000, '');
  },

  async binary(open) {
    const talk = conversation(open('/echo'));
    await talk.opened();
    for (const size of SIZES) {
      const sent = pattern(size);
      talk.socket.send(sent);
      const received = new Uint8Array(await talk.message());
      expect('length', received.length, size);
      expect(`byte of ${size}`, received.findIndex((byte, index) => byte !== sent[index]), -1);
    }
    await finish(talk, 1000, 'done');
  },

  // Many at once: whatever arrives together is answered in order.
  async burst(open) {
    const talk = conversation(open('/echo'));
    await talk.opened();
    for (let index = 0; index < 200; index += 1) talk.socket.send(`message ${index}`);
    for (let index = 0; index < 200; index += 1) {
      expect('text', await talk.message(), `message ${index}`);
    }
    await finish(talk, 1000, '');
  },

  async 'close by the client'(open) {
    const talk = conversation(open('/echo'));
    await talk.opened();
    await finish(talk, 4001, 'bye: прощай');
  },

  // A room speaks binary only; text is answered with a close that says so.
  async 'close by the server'(open) {
    const talk = conversation(open('/ws', ['tickloom.v1']));
    await talk.opened();
    talk.socket.send('text');
    const end = await talk.closed();
    expect('code', end.code, 1003);
    expect('the slug', end.reason.split(':')[0], 'text');
    expect('wasClean', end.wasClean, true);
  },

  async subprotocol(open) {
    for (const [offer, chosen] of [
      [['tickloom.v1'], 'tickloom.v1'],
      [['chat', 'tickloom.v1', 'other'], 'tickloom.v1'],
      [[], ''],
    ]) {
      const talk = conversation(open('/ws', offer));
      await talk.opened();
      expect(`chosen of ${offer}`, talk.socket.protocol, chosen);
      await finish(talk, 1000, '');
    }
  },

  async 'unknown subprotocol'(open) {
    const talk = conversation(open('/ws', ['chat']));
    const outcome = await talk.opened().then(() => 'opened', () => 'refused');
    expect('the handshake', outcome, 'refused');
  },

  async join(open, plan) {
    const talk = conversation(open('/ws', ['tickloom.v1']));
    await talk.opened();
    talk.socket.send(Uint8Array.from(plan.join));
    expect('kind of the first message', kindOf(await talk.message()), JOINED);
    // The room ticks: state follows.
    expect('kind of the second message', kindOf(await talk.message()), 2);
    await finish(talk, 1000, 'left');
  },
};

export async function play(open, plan, report) {
  for (const [name, run] of Object.entries(CASES)) {
    try {
      await run(open, plan);
      await report(name, null);
    } catch (error) {
      await report(name, String(error?.message ?? error));
    }
  }
}
