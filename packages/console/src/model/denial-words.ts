/** Why a request was denied, for who looks at the list. */
const WORDS: Readonly<Record<string, string>> = {
  "no-seats": "not enough seats were free",
  "unknown-feature": "not in the license",
  "version-not-covered": "the license covers an older version",
  "feature-expired": "the license had ended",
  "not-started": "the license had not begun",
  "denied-by-policy": "a rule of the license",
  "no-majority": "too few servers were up",
};

export function denialWords(code: string): string {
  return WORDS[code] ?? "denied";
}
