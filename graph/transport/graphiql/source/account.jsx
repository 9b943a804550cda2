// In the corner: as whom the operations of the active tab run, and the way out.

import { useGraphiQL } from '@graphiql/react';
import { useSyncExternalStore } from 'react';

import { hasAuthorization } from './request';

const HOW_TO_SIGN_IN =
  'Open the link that the server prints when it starts, or write into the Headers tab: ' +
  '{"Authorization": "Bearer <accessToken>"}';

export function Account({ session }) {
  const user = useSyncExternalStore(session.subscribe, () => session.user);
  const headers = useGraphiQL((state) => state.tabs[state.activeTabIndex]?.headers);
  if (hasAuthorization(parsed(headers))) {
    return <Line title="Remove it from the Headers tab to use another.">Token of the Headers tab</Line>;
  }
  if (!user) return <Line title={HOW_TO_SIGN_IN}>Not signed in</Line>;
  return (
    <Line title="Signed in by the link, in this browser tab.">
      {user}
      <button type="button" onClick={() => session.signOut()}>
        Sign out
      </button>
    </Line>
  );
}

function Line({ title, children }) {
  return (
    <span className="howdah-account" title={title}>
      {children}
    </span>
  );
}

function parsed(headers) {
  try {
    return JSON.parse(headers || '{}') ?? {};
  } catch {
    return {}; // they are being written
  }
}
