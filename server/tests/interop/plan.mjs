// What a run is about, from its environment, and how a case is reported: one line each.
import { readFileSync } from 'node:fs';

const { URL_BASE, DEFLATE, JOIN_FILE, SERVER_DEFLATES } = process.env;

export const base = URL_BASE;
export const offersDeflate = DEFLATE === 'on';
export const plan = {
  join: [...readFileSync(JOIN_FILE)],
  extensions: offersDeflate && SERVER_DEFLATES === 'yes' ? 'permessage-deflate' : '',
};

export function report(name, error) {
  console.log(error === null ? `${name}\tok` : `${name}\tFAILED\t${error}`);
}
