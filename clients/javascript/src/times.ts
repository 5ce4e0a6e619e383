/** A time: a Date, or ISO 8601. */
export type Time = Date | string;
/** A duration: seconds, or a text such as `90s`, `5m`, `1h`, `250ms`. */
export type Duration = number | string;

const UNITS: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };

export function iso(time: Time): string {
  return typeof time === "string" ? time : time.toISOString();
}

export function seconds(duration: Duration): number {
  if (typeof duration === "number") return duration;
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(duration.trim()) ?? [];
  if (number === undefined || unit === undefined) {
    throw new RangeError(`'${duration}' is not a duration such as 90s, 5m, 1h or 250ms`);
  }
  return Number(number) * (UNITS[unit] ?? 1);
}
