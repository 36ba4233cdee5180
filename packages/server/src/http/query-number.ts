/** A query is text; the schema wants the number. What is no number is left for it to refuse. */
export function withNumber(query: object, name: string): Record<string, unknown> {
  const value: unknown = Reflect.get(query, name);
  const isNumber = typeof value === "string" && /^\d{1,9}$/.test(value);
  return isNumber ? { ...query, [name]: Number(value) } : { ...query };
}
