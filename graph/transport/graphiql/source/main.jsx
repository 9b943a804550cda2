import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import '@graphiql/plugin-explorer/style.css';
import './page.css';

import { explorerPlugin } from '@graphiql/plugin-explorer';
import { HISTORY_PLUGIN } from '@graphiql/plugin-history';
import { GraphiQL } from 'graphiql';
import { createRoot } from 'react-dom/client';

import { createFetcher } from './fetcher';
import { errorsAboveResponse, SessionNotice } from './problems';
import { Session } from './session';
import { defaultTabs, initialEditors } from './tabs';
import { Answers, FilledVariables } from './variables';

// Written into the page by the server (graph/transport/graphiql/__init__.py).
const config = JSON.parse(document.getElementById('howdah-config').textContent);
const endpoint = new URL(config.endpoint ?? '/graphql', location.href);

// A header is most often a token, so it is kept over a reload only for those who said so in the
// settings dialog. GraphiQL forgets that choice when the property is false: read it ourselves.
const keepHeaders = localStorage.getItem('graphiql:shouldPersistHeaders') === 'true';

const session = new Session(endpoint);
await session.open();
const answers = new Answers();

createRoot(document.getElementById('graphiql')).render(
  <>
    <SessionNotice session={session} />
    <GraphiQL
      fetcher={createFetcher({ endpoint, session, onData: answers.tell })}
      plugins={[explorerPlugin(), HISTORY_PLUGIN]}
      defaultTabs={defaultTabs}
      {...initialEditors({ keepHeaders })}
      defaultEditorToolsVisibility="variables"
      shouldPersistHeaders={keepHeaders}
      showPersistHeadersSettings
    >
      {errorsAboveResponse}
      <FilledVariables answers={answers} />
    </GraphiQL>
  </>,
);
