/** A framed table of what happened, the newest first, with a button for what is older. */
import type { ComponentChildren } from "preact";

export interface HistoryTableProps {
  /** Its class in the style sheet. */
  readonly kind: string;
  readonly label: string;
  readonly columns: readonly string[];
  /** Said in the place of rows; null: there are some, or it is not known yet. */
  readonly empty: string | null;
  /** Null: there is nothing older. */
  readonly onOlder: (() => Promise<void>) | null;
  readonly children: ComponentChildren;
}

export function HistoryTable(props: HistoryTableProps) {
  const { kind, label, columns, empty, onOlder, children } = props;
  return (
    <>
      <div class={`table-wrap ${kind}`} role="region" aria-label={label} tabIndex={0}>
        <table>
          <thead>
            <tr>
              {columns.map((column) => (
                <th key={column} scope="col">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {empty !== null && (
              <tr>
                <td colSpan={columns.length}>{empty}</td>
              </tr>
            )}
            {children}
          </tbody>
        </table>
      </div>
      {onOlder !== null && (
        <p class="actions">
          <button type="button" class="button" onClick={() => void onOlder()}>
            Show older ones
          </button>
        </p>
      )}
    </>
  );
}
