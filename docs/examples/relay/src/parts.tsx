import { Component, type ReactNode, useState } from 'react';
import { useMutation, type UseMutationConfig } from 'react-relay';
import type { GraphQLTaggedNode, MutationParameters } from 'relay-runtime';
import { HowdahError } from './environment';
import { url } from './session';

function problemsOf(error: unknown): HowdahError['errors'] {
  if (error instanceof HowdahError) return error.errors;
  const hint = `Check that Howdah runs at ${url}.`;
  if (error instanceof TypeError) return [{ message: 'No response.', extensions: { hint } }];
  return [{ message: error instanceof Error ? error.message : String(error) }];
}

export function ErrorNote({ error }: { error: unknown }) {
  if (!error) return null;
  return (
    <div role="alert">
      {problemsOf(error).map(({ message, extensions }) => (
        <p key={message}>
          <strong>{message}</strong> {extensions?.hint}
        </p>
      ))}
    </div>
  );
}

/** Shows the error of a query, which Relay throws while the component renders. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { error?: unknown }> {
  override state: { error?: unknown } = {};

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <>
        <ErrorNote error={this.state.error} />
        <button onClick={() => location.reload()}>Reload the page</button>
      </>
    );
  }
}

/** A mutation that keeps its last error, so that the page can show it. */
export function useAction<T extends MutationParameters>(mutation: GraphQLTaggedNode) {
  const [error, setError] = useState<Error>();
  const [commit] = useMutation<T>(mutation);
  const run = (config: UseMutationConfig<T>) => {
    setError(undefined);
    commit({
      ...config,
      onError: (error) => {
        setError(error);
        config.onError?.(error);
      },
    });
  };
  return [run, error] as const;
}

type FieldProps = React.InputHTMLAttributes<HTMLInputElement> & { label: string; name: string };

export function Field({ label, ...input }: FieldProps) {
  return (
    <label>
      {label}
      <input required {...input} />
    </label>
  );
}

/** The text fields of a form that was submitted, and an empty form if `clear` is set. */
export function valuesOf(event: React.FormEvent<HTMLFormElement>, clear = false): Record<string, string> {
  event.preventDefault();
  const form = event.currentTarget;
  const values = Object.fromEntries(new FormData(form)) as Record<string, string>;
  if (clear) form.reset();
  return values;
}
