/** Why a request was refused, for who looks at the list. */
const WORDS: Readonly<Record<string, string>> = {
  "no-seats": "every seat was in use",
  "unknown-feature": "not in the license",
  "version-not-covered": "the license covers an older version",
  "feature-expired": "the license had ended",
  "not-started": "the license had not begun",
  "denied-by-policy": "a rule of the license",
  "no-majority": "too few servers were up",
};

export function refusalWords(code: string): string {
  return WORDS[code] ?? "refused";
}
