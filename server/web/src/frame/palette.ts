// The stylesheet's colours, for what is drawn on a canvas.

const names = [
  "paper",
  "raised",
  "sunk",
  "ink",
  "muted",
  "rule",
  "edge",
  "accent",
  "wash",
] as const;
const more = ["good", "bad", "warn"] as const;

export type Palette = Record<(typeof names)[number] | (typeof more)[number], string> & {
  isDark: boolean;
};

const dark = matchMedia("(prefers-color-scheme: dark)");
let current: Palette | undefined;
dark.addEventListener("change", () => {
  current = undefined;
});

/** The colours as they are now: light or dark. */
export function palette(): Palette {
  current ??= read();
  return current;
}

/** A colour of its own for one of 256. */
export function hue(index: number): string {
  return `hsl(${Math.round((index * 360) / 256)} ${dark.matches ? "62% 66%" : "58% 40%"})`;
}

function read(): Palette {
  const style = getComputedStyle(document.documentElement);
  const pairs = [...names, ...more].map((name) => [
    name,
    style.getPropertyValue(`--${name}`).trim(),
  ]);
  return { ...Object.fromEntries(pairs), isDark: dark.matches };
}
