import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { connectFake, FakeSocket, JOINED, SNAPSHOT, settle } from "./fakes.js";

/** As much of a page as a client looks at. */
class FakePage {
  readonly window = new EventTarget();
  readonly document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  readonly navigator = { onLine: true };
  readonly storage = new Map<string, string>();

  install(): void {
    const { window, document, navigator, storage } = this;
    const define = (name: string, value: unknown) =>
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    define("document", document);
    define("navigator", navigator);
    define("addEventListener", window.addEventListener.bind(window));
    define("sessionStorage", {
      getItem: (key: string) => storage.get(key) ?? null,
      setItem: (key: string, value: string) => storage.set(key, value),
      removeItem: (key: string) => storage.delete(key),
    });
  }

  remove(): void {
    for (const name of ["document", "navigator", "addEventListener", "sessionStorage"]) {
      Reflect.deleteProperty(globalThis, name);
    }
  }

  see(isSeen: boolean): void {
    this.document.visibilityState = isSeen ? "visible" : "hidden";
    this.document.dispatchEvent(new Event("visibilitychange"));
  }

  tell(type: "pagehide" | "pageshow", persisted: boolean): void {
    this.window.dispatchEvent(Object.assign(new Event(type), { persisted }));
  }

  connect(isOnline: boolean): void {
    this.navigator.onLine = isOnline;
    this.window.dispatchEvent(new Event(isOnline ? "online" : "offline"));
  }
}

let page: FakePage;
beforeEach(() => {
  page = new FakePage();
  page.install();
});
afterEach(() => page.remove());

async function seated(remember = false) {
  const { client, timers } = connectFake();
  await settle();
  const joined = client.join("board", { room: "a", name: "Zoë", remember });
  const socket = FakeSocket.last;
  socket.open();
  const [join] = socket.take("Join");
  socket.receive("Joined", JOINED);
  socket.receive("Delta", SNAPSHOT);
  const room = await joined;
  socket.take();
  return { client, timers, socket, room, join };
}

test("a hidden page says so at once, and so does one that is seen again", async () => {
  const { socket } = await seated();
  page.see(false);
  assert.deepEqual(
    socket.take("Report").map(({ hidden }) => hidden),
    [true],
  );
  page.see(true);
  assert.deepEqual(
    socket.take("Report").map(({ hidden }) => hidden),
    [false],
  );
});

test("a page that the browser puts away has no connection until it is back", async () => {
  const { client, timers, socket, room } = await seated();
  page.tell("pagehide", true);
  assert.equal(socket.closedWith, 3000, "a code that keeps the seat");
  assert.equal(room.status, "away");
  await timers.pass(60_000);
  assert.deepEqual([client.state, client.retryAtMs], ["waiting", undefined]);
  page.tell("pageshow", true);
  await settle();
  assert.equal(client.state, "connecting");
  FakeSocket.last.open();
  assert.ok(FakeSocket.last.take("Join")[0]?.resume);
});

test("a page that goes for good leaves its room, so that nobody seems to be away", async () => {
  const { socket } = await seated();
  page.tell("pagehide", false);
  assert.equal(socket.take("Leave").length, 1);
});

test("a page that is loaded again has its seat again, once", async () => {
  const { client, socket } = await seated(true);
  page.tell("pagehide", false);
  assert.equal(socket.take("Leave").length, 0);
  client.close();
  const { join, client: second } = await seated(true);
  const resume = join?.resume as Record<string, unknown>;
  assert.deepEqual(
    [resume.member, resume.tick, [...(resume.token as Uint8Array)]],
    [7, 0, [1, 2, 3]],
  );
  assert.equal(second.stats.resumed, 1);
  second.close();
  // A tab that is duplicated finds nothing that it could take its twin's seat with.
  assert.equal((await seated(true)).join?.resume, undefined);
});

test("a page whose connection is closed before it goes has its seat again, too", async () => {
  const { client, socket } = await seated(true);
  // As Firefox does it.
  socket.end(1001);
  page.tell("pagehide", false);
  client.close();
  const { join } = await seated(true);
  const { token } = join!.resume as { token: Uint8Array };
  assert.deepEqual([...token], [1, 2, 3]);
});

test("nothing is tried while there is no network, and at once when there is", async () => {
  const { client, timers, socket } = await seated();
  page.connect(false);
  assert.equal(socket.take("Ping").length, 1, "perhaps the connection does not know");
  socket.end(1006);
  await timers.pass(60_000);
  assert.deepEqual([client.state, FakeSocket.all.length], ["waiting", 1]);
  page.connect(true);
  await settle();
  assert.equal(FakeSocket.all.length, 2);
});

test("a closed client does not hear of its page any more", async () => {
  const { client, socket } = await seated();
  client.close();
  page.see(false);
  page.tell("pageshow", true);
  page.connect(true);
  await settle();
  assert.equal(socket.take("Report").length, 0);
  assert.equal(FakeSocket.all.length, 1);
});
