// Small parts of all steps.

import type { ReactNode } from 'react';
import type { CombinedError } from 'urql';

/** Where statements are executed: on the connection, or in a session that holds a transaction. */
export type Target = { connectionId: string } | { sessionId: string };

type Explained = { message: string; detail?: string | null; hint?: string | null; line?: number | null; column?: number | null };
export type Failure = CombinedError | Explained | null | undefined;

/** What happened and what to do about it, in the words of the server. */
export function Problem({ error }: { error: Failure }) {
  if (!error) return null;
  const first = 'graphQLErrors' in error ? error.graphQLErrors[0] : undefined;
  const hint = 'hint' in error ? error.hint : String(first?.extensions['hint'] ?? '');
  const { message } = first ?? error;
  return (
    <p role="alert" className="problem">
      {'line' in error && error.line && `Line ${error.line}, column ${error.column}: `}<strong>{message}</strong>{' '}
      {'detail' in error && error.detail} {hint}
    </p>
  );
}

/** A modal dialog, which Escape closes. */
export function Popup({ label, close, children }: { label: string; close: () => void; children: ReactNode }) {
  const open = (dialog: HTMLDialogElement | null) => {
    if (dialog && !dialog.open) dialog.showModal();
  };
  return (
    <dialog ref={open} aria-label={label} onClose={close} onDoubleClick={(event) => event.stopPropagation()}>
      {children}
    </dialog>
  );
}

/** The text fields of a form by their names. */
export function fields(form: HTMLFormElement) {
  const data = new FormData(form);
  return (name: string) => String(data.get(name) ?? '');
}
