type Child = Node | string;

/** Makes an element. Children that are texts stay texts: nothing here is ever parsed as HTML. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Changes a text only if it is another one, so that a selection in it stays. */
export function show(node: Node, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** A list of names and values. */
export class Facts {
  readonly element = element("dl");
  readonly #values = new Map<string, HTMLElement>();

  /** Sets a value; a name that is new comes last. */
  set(name: string, value: string): void {
    let node = this.#values.get(name);
    if (!node) {
      node = element("dd");
      this.#values.set(name, node);
      this.element.append(element("dt", {}, name), node);
    }
    show(node, value);
  }
}

/** A line over time, 100 wide and 24 high before it is stretched. */
export class Sparkline {
  readonly element: SVGSVGElement;
  readonly #line: SVGPolylineElement;

  constructor(name: string) {
    const make = <K extends keyof SVGElementTagNameMap>(tag: K) =>
      document.createElementNS("http://www.w3.org/2000/svg", tag) as SVGElementTagNameMap[K];
    this.element = make("svg");
    this.#line = make("polyline");
    this.element.setAttribute("viewBox", "0 -1 100 26");
    this.element.setAttribute("preserveAspectRatio", "none");
    this.element.setAttribute("role", "img");
    this.element.setAttribute("aria-label", name);
    this.element.append(this.#line);
  }

  draw(points: string): void {
    this.#line.setAttribute("points", points);
  }
}

/** A slider with its name and value. */
export function slider(
  name: string,
  unit: string,
  value: number,
  max: number,
  step: number,
  changed: (value: number) => void,
): HTMLElement {
  const shown = element("output", {}, `${value} ${unit}`);
  const input = element("input", { type: "range", min: "0" });
  // The value is cut to the range, so the range comes first.
  input.max = String(max);
  input.step = String(step);
  input.value = String(value);
  input.addEventListener("input", () => {
    changed(input.valueAsNumber);
    show(shown, `${input.value} ${unit}`);
  });
  return element("label", {}, name, input, shown);
}
