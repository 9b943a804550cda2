import { CombinedGraphQLErrors, ServerError } from '@apollo/client';
import { url } from './session';

type Problem = { message: string; hint?: string | null };

/** Every error of Howdah has a message, which says what happened, and a hint, which says what to do. */
function problemsOf(error: unknown): Problem[] {
  if (CombinedGraphQLErrors.is(error)) {
    return error.errors.map(({ message, extensions }) => ({ message, hint: extensions?.hint as string }));
  }
  if (ServerError.is(error)) return [{ message: error.message, hint: error.bodyText }];
  if (error instanceof TypeError) return [{ message: 'No response.', hint: `Check that Howdah runs at ${url}.` }];
  return [{ message: error instanceof Error ? error.message : String(error) }];
}

export function ErrorNote({ error }: { error: unknown }) {
  if (!error) return null;
  return (
    <div role="alert">
      {problemsOf(error).map(({ message, hint }) => (
        <p key={message}>
          <strong>{message}</strong> {hint}
        </p>
      ))}
    </div>
  );
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
