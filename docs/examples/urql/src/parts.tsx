// Small parts that all pages use.

import { type ReactNode, useState } from 'react';
import type { CombinedError } from 'urql';

type Explained = { message: string; hint?: string | null };

function explain(error: CombinedError | Explained): Explained {
  if (!('graphQLErrors' in error)) return error;
  const [first] = error.graphQLErrors;
  if (!first) return { message: 'The server did not answer.', hint: 'Check the network, then try again.' };
  return { message: first.message, hint: String(first.extensions['hint'] ?? '') };
}

/** What happened and what to do about it, both in the server's words. */
export function Problem({ error }: { error: CombinedError | Explained | null | undefined }) {
  if (!error) return null;
  const { message, hint } = explain(error);
  return <p role="alert" className="problem"><strong>{message}</strong> {hint}</p>;
}

/** A folder of a tree; its content exists, and is fetched, once it is opened. */
export function Branch({ label, children }: { label: ReactNode; children: ReactNode }) {
  const [opened, setOpened] = useState(false);
  return (
    <details onToggle={(event) => event.currentTarget.open && setOpened(true)}>
      <summary>{label}</summary>
      {opened && children}
    </details>
  );
}

/** Loads the next page when it is scrolled into view; the keyboard can press it too. */
export function More({ load }: { load: () => void }) {
  function watch(button: HTMLButtonElement | null) {
    if (!button) return;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && load());
    observer.observe(button);
    return () => observer.disconnect();
  }
  return <button ref={watch} onClick={load}>More</button>;
}

/** The text fields of a form by their names. */
export function fields(form: HTMLFormElement) {
  const data = new FormData(form);
  return (name: string) => String(data.get(name) ?? '');
}

/** Asks the server and not the cache. */
export const FRESH = { requestPolicy: 'network-only' } as const;

/** Follows a signed URL. The server sends it as an attachment, so the page stays. */
export const download = (url: string) => window.location.assign(url);

export const bytes = (size: number | string) =>
  Intl.NumberFormat('en', { style: 'unit', unit: 'byte', notation: 'compact', unitDisplay: 'narrow' }).format(
    Number(size),
  );
