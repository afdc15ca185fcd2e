/**
 * JSON whose integers keep all 64 bits. JSON.parse rounds 18446744073709551615 (RLIM_INFINITY) to 2^64, which no
 * 64-bit field can hold; here an integer literal that a number can't represent exactly becomes a bigint.
 */

/** Marks a bigint while JSON.parse has it as a string; no document holds this by accident (it starts with NUL). */
const MARK = '\u0000int:';

// A string, or an integer literal of 16 digits and more (2^53 has 16) that isn't part of a fraction or exponent.
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/gs;

/**
 * Parses JSON; integers beyond ±2^53 arrive as bigint.
 * @throws SyntaxError as JSON.parse does
 */
export function parseJson(text: string): unknown {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  JSON.parse(text); // errors name positions in the text as it was given
  const marked = text.replace(TOKEN, (token) =>
    token.startsWith('"') || Number.isSafeInteger(Number(token)) ? token : `"\\u0000int:${token}"`,
  );
  return JSON.parse(marked, (_key, value) =>
    typeof value === 'string' && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value,
  );
}

/** JSON.stringify, with bigints as the integers that they are. */
export function stringifyJson(value: unknown, indent?: number): string {
  let any = false;
  const text = JSON.stringify(
    value,
    (_key, v) => {
      if (typeof v !== 'bigint') return v;
      any = true;
      return `${MARK}${v}`;
    },
    indent,
  );
  return any ? text.replace(/"\\u0000int:(-?\d+)"/g, '$1') : text;
}
