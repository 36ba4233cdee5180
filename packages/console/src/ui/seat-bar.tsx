/** A bar of seats. The numbers beside it say the same; the bar is for the eye alone. */
export interface SeatBarProps {
  readonly inUse: number;
  readonly seats: number;
  /** What the whole track stands for; default: `seats`. */
  readonly scale?: number;
  readonly dead?: boolean;
}

export function SeatBar({ inUse, seats, scale = seats, dead = false }: SeatBarProps) {
  const look = dead ? "dead" : inUse >= seats && seats > 0 ? "full" : "";
  return (
    <span class={`seat-bar ${look}`} aria-hidden="true">
      <span class="allocated" style={{ width: percent(seats, scale) }}>
        <span class="used" style={{ width: percent(inUse, seats) }} />
      </span>
    </span>
  );
}

export function percent(part: number, whole: number): string {
  return `${whole <= 0 ? 0 : Math.min(100, (100 * part) / whole).toFixed(2)}%`;
}
