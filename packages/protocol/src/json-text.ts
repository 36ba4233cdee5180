/**
 * JSON from somebody else, before anything recursive touches it: bounded depth, and no name twice in an object
 * (RFC 8785 signs I-JSON, in which a name is unique; two readers could else see two documents under one
 * signature).
 */
import canonicalize from "canonicalize";

const JSON_DEPTH_MAX = 16;

/** The parsed value, or a sentence that says what is wrong. Never throws. */
export function parseJsonText(text: string): { value: unknown } | { invalid: string } {
  if (depthOf(text) > JSON_DEPTH_MAX) {
    return { invalid: `is nested deeper than ${JSON_DEPTH_MAX} levels` };
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { invalid: `is not JSON (${error instanceof Error ? error.message : "unreadable"})` };
  }
  const repeated = repeatedName(text);
  return repeated === null ? { value } : { invalid: `has the name "${repeated}" twice` };
}

/** RFC 8785, or null for what has no canonical form: lone surrogates, numbers beyond a double. */
export function canonicalText(value: unknown): string | null {
  try {
    return canonicalize(value) ?? null;
  } catch {
    return null;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** How deep brackets nest, counted without recursion and also in text that is not JSON. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index];
    if (character === '"') index = endOfString(text, index);
    else if (character === "{" || character === "[") deepest = Math.max(deepest, (depth += 1));
    else if (character === "}" || character === "]") depth -= 1;
  }
  return deepest;
}

/** The first name that an object has twice. `text` is valid JSON. */
function repeatedName(text: string): string | null {
  const open: (Set<string> | null)[] = [];
  let nameMayFollow = false;
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index];
    if (character === '"') {
      const end = endOfString(text, index);
      const names = open.at(-1);
      if (nameMayFollow && names) {
        const name = String(JSON.parse(text.slice(index, end + 1)));
        if (names.has(name)) return name;
        names.add(name);
      }
      nameMayFollow = false;
      index = end;
    } else if (character === "{") {
      open.push(new Set());
      nameMayFollow = true;
    } else if (character === "[") {
      open.push(null);
    } else if (character === "}" || character === "]") {
      open.pop();
      nameMayFollow = false;
    } else if (character === ",") {
      nameMayFollow = true;
    }
  }
  return null;
}

/** The index of the quote that closes the string opened at `start`, or the text's end. */
function endOfString(text: string, start: number): number {
  let index = start + 1;
  while (index < text.length && text[index] !== '"') index += text[index] === "\\" ? 2 : 1;
  return index;
}
