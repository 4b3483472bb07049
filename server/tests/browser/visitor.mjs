// Somebody with a browser window of their own, whom nothing escapes that a page complains of.
/** A machine that builds at the same time is slow; what waits for nothing fails all the same. */
const WAIT_MS_MAX = 20_000;

/** What a browser says by itself of a server that is gone; only where that is the point. */
const GONE = /WebSocket|ERR_CONNECTION_REFUSED|establish a connection|NS_ERROR/;

const isComplaint = (message) => ["error", "warn", "warning", "assert"].includes(message.type());

/** Browsers ask for an icon where a page that is no HTML names none. */
const isIcon = (url = "") => url.endsWith("/favicon.ico");

export class Visitor {
  #context;
  page;
  /** What went wrong in the page, as sentences. */
  complaints = [];
  #isGoneFine = false;

  /** @param browser Of `launch`. */
  static async of(browser, { width = 1280, height = 800, isTouch = false } = {}) {
    const visitor = new Visitor();
    visitor.#context = await browser.createBrowserContext();
    const page = await visitor.#context.newPage({ type: "window" });
    visitor.page = page;
    await page.setViewport({ width, height, isMobile: false, hasTouch: isTouch });
    page.setDefaultTimeout(WAIT_MS_MAX);
    page.on("console", (message) => {
      if (isComplaint(message) && !isIcon(message.location().url)) {
        visitor.#complain(`console: ${message.text()}`);
      }
    });
    page.on("pageerror", (error) => visitor.#complain(`error: ${error.message ?? error}`));
    page.on("response", (response) => {
      if (response.status() >= 400 && !isIcon(response.url())) {
        visitor.#complain(`${response.status()} for ${response.url()}`);
      }
    });
    await page.evaluateOnNewDocument(() => {
      document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`),
      );
    });
    return visitor;
  }

  /** From now on the server may be away. */
  mayMissTheServer() {
    this.#isGoneFine = true;
  }

  async goto(url) {
    await this.page.goto(url, { waitUntil: "load" });
  }

  /** Waits until a function of the page returns something true, and returns that. */
  async until(what, told, ...given) {
    try {
      const handle = await this.page.waitForFunction(told, { polling: 25 }, ...given);
      return await handle.jsonValue();
    } catch (error) {
      const heard = this.complaints.length ? `; the page said ${this.complaints.join("; ")}` : "";
      throw new Error(`never came: ${what} (${error.message})${heard}`);
    }
  }

  evaluate(told, ...given) {
    return this.page.evaluate(told, ...given);
  }

  /** Leaves; throws when the page complained of anything. */
  async leave() {
    await this.#context.close();
    if (this.complaints.length > 0) {
      throw new Error(`the page complained: ${[...new Set(this.complaints)].join("; ")}`);
    }
  }

  #complain(text) {
    if (!(this.#isGoneFine && GONE.test(text))) {
      this.complaints.push(text);
    }
  }
}
