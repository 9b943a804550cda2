// What went wrong and what to do about it, in sight: a response can be longer than its pane.

import { GraphiQL } from 'graphiql';
import { useGraphiQL } from '@graphiql/react';
import { useSyncExternalStore } from 'react';

/** A line above the page about the session of this tab. */
export function SessionNotice({ session }) {
  const notice = useSyncExternalStore(session.subscribe, () => session.notice);
  if (!notice) return null;
  return (
    <p className="howdah-notice" role="alert">
      {notice}
      <button type="button" aria-label="Dismiss" onClick={() => session.notify(undefined)}>
        ×
      </button>
    </p>
  );
}

/** Message, hint and code of the errors of the response that the active tab shows. */
function Errors() {
  const response = useGraphiQL((state) => state.tabs[state.activeTabIndex]?.response);
  const errors = errorsOf(response).filter(({ message }) => message);
  if (!errors.length) return null;
  return (
    <ul className="howdah-errors" role="alert">
      {errors.slice(0, 3).map(({ message, path, extensions = {} }, index) => (
        <li key={index}>
          <strong>{message}</strong> {extensions.hint}
          <div>{[extensions.code, extensions.field, path?.join('.')].filter(Boolean).join(' · ')}</div>
        </li>
      ))}
      {errors.length > 3 && <li>{errors.length - 3} more errors are in the response.</li>}
    </ul>
  );
}

/** GraphiQL puts a footer below the response; page.css moves it above. */
export const errorsAboveResponse = (
  <GraphiQL.Footer>
    <Errors />
  </GraphiQL.Footer>
);

function errorsOf(response) {
  try {
    return JSON.parse(response ?? '{}').errors ?? [];
  } catch {
    return []; // the response is being written
  }
}
