import { Component, type ReactNode, useState } from 'react';
import { useMutation, type UseMutationConfig } from 'react-relay';
import type { GraphQLTaggedNode, MutationParameters } from 'relay-runtime';
import { HowdahError } from './environment';
import { url } from './session';

export function ErrorNote({ error }: { error: unknown }) {
  if (!error) return null;
  const hint = `Check that Howdah runs at ${url}.`;
  const problems = error instanceof HowdahError ? error.errors : [{ message: String(error), extensions: { hint } }];
  return (
    <div role="alert">
      {problems.map(({ message, extensions }) => (
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
        <button onClick={() => this.setState({ error: undefined })}>Try again</button>
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
    commit({ ...config, onError: setError });
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
