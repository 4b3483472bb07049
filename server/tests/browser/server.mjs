// A real server that a test may kill and start again at the same address.
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";

const START_MS_MAX = 10_000;

export class Server {
  #process;
  #log;
  /** Where it listens: host and port. */
  address;

  /** @param log The file that everything it writes goes to. */
  constructor(log) {
    this.#log = createWriteStream(log);
  }

  get http() {
    return `http://${this.address}`;
  }

  get socket() {
    return `ws://${this.address}/ws`;
  }

  /** Starts it at a free port, or where it was before. */
  async start() {
    const listen = this.address ?? "127.0.0.1:0";
    const { PATH, HOME } = process.env;
    this.#process = spawn(
      process.env.TICKLOOM_SERVER,
      ["serve", "--listen", listen, "--log-format", "json"],
      { stdio: ["ignore", "pipe", "pipe"], env: { PATH, HOME } },
    );
    this.#process.stderr.pipe(this.#log, { end: false });
    const lines = createInterface({ input: this.#process.stdout });
    this.address = await new Promise((resolve, reject) => {
      const late = () => reject(new Error(`the server did not start in ${START_MS_MAX} ms`));
      const timer = setTimeout(late, START_MS_MAX);
      this.#process.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
      lines.on("line", (line) => {
        this.#log.write(`${line}\n`);
        const event = line.startsWith("{") ? JSON.parse(line) : {};
        if (event.event === "listening") {
          clearTimeout(timer);
          resolve(event.address);
        }
      });
    });
  }

  /** Ends it without a word to anybody, as a crash or a power cut does. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** Asks it to stop; whether it did as it should. */
  async stop() {
    return (await this.#end("SIGTERM")) === 0;
  }

  #end(signal) {
    const ended = this.#process;
    if (ended.exitCode !== null || ended.signalCode !== null) {
      return Promise.resolve(ended.exitCode);
    }
    return new Promise((resolve) => {
      ended.once("exit", (code) => resolve(code));
      ended.kill(signal);
    });
  }
}
