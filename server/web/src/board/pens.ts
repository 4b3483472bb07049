// What one draws with. Each pen has a colour for light and one for dark, because the sheet has.

export interface Pen {
  name: string;
  light: string;
  dark: string;
}

export const pens: readonly Pen[] = [
  { name: "Ink", light: "#1c201f", dark: "#e8ecea" },
  { name: "Red", light: "#c2352b", dark: "#ff8a7f" },
  { name: "Orange", light: "#b9620a", dark: "#f7ad5c" },
  { name: "Green", light: "#2b7d43", dark: "#7ad48c" },
  { name: "Teal", light: "#0d6b62", dark: "#53cdbc" },
  { name: "Blue", light: "#2259b5", dark: "#86b3ff" },
  { name: "Violet", light: "#7340b8", dark: "#c19bf5" },
  { name: "Grey", light: "#7b827f", dark: "#98a29e" },
];

/** In units of the board. */
export const widths = [3, 6, 14] as const;

export function colourOf(pen: number, isDark: boolean): string {
  const { light, dark } = pens[pen % pens.length] as Pen;
  return isDark ? dark : light;
}
