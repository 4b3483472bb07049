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
const more = ["good", "bad", "warn", "note-0", "note-1", "note-2", "note-3"] as const;

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

/** A colour of its own for one of 256, for areas. */
export function hue(index: number): string {
  return `hsl(${Math.round((index * 360) / 256)} ${dark.matches ? "62% 66%" : "58% 40%"})`;
}

/** The same for text, which needs more contrast. */
export function textHue(index: number): string {
  return `hsl(${Math.round((index * 360) / 256)} ${dark.matches ? "62% 76%" : "60% 29%"})`;
}

/** The colour of a sticky note, whose number anybody may have written. */
export function noteColour(colour: unknown): string {
  const notes = [
    palette()["note-0"],
    palette()["note-1"],
    palette()["note-2"],
    palette()["note-3"],
  ];
  return notes[Number(colour) % notes.length] ?? palette()["note-0"];
}

function read(): Palette {
  const style = getComputedStyle(document.documentElement);
  const pairs = [...names, ...more].map((name) => [
    name,
    style.getPropertyValue(`--${name}`).trim(),
  ]);
  return { ...Object.fromEntries(pairs), isDark: dark.matches };
}
