import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import '@graphiql/plugin-explorer/style.css';
import './page.css';

import { explorerPlugin } from '@graphiql/plugin-explorer';
import { HISTORY_PLUGIN } from '@graphiql/plugin-history';
import { GraphiQL } from 'graphiql';
import { createRoot } from 'react-dom/client';

import { Account } from './account';
import { createFetcher } from './fetcher';
import { errorsAboveResponse, SessionNotice } from './problems';
import { LinkedOperation, RevealedOperation } from './reveal';
import { Session } from './session';
import { keepsHeaders, storage } from './storage';
import { defaultTabs, initialEditors, linkedOperation } from './tabs';
import { FollowedTheme } from './theme';
import { Answers, FilledVariables } from './variables';

// Written into the page by the server (graph/transport/graphiql/__init__.py).
const config = JSON.parse(document.getElementById('howdah-config').textContent);
const endpoint = new URL(config.endpoint ?? '/graphql', location.href);

const session = new Session(endpoint);
await session.open();
const answers = new Answers();

createRoot(document.getElementById('graphiql')).render(
  <>
    <SessionNotice session={session} />
    <GraphiQL
      fetcher={createFetcher({ endpoint, session, onData: answers.tell })}
      plugins={[explorerPlugin(), HISTORY_PLUGIN]}
      storage={storage}
      schemaDescription
      defaultTabs={defaultTabs}
      {...initialEditors()}
      defaultEditorToolsVisibility="variables"
      shouldPersistHeaders={keepsHeaders()}
      showPersistHeadersSettings
    >
      <GraphiQL.Logo>
        <Account session={session} />
      </GraphiQL.Logo>
      {errorsAboveResponse}
      <FollowedTheme />
      <RevealedOperation />
      <LinkedOperation name={linkedOperation} />
      <FilledVariables answers={answers} />
    </GraphiQL>
  </>,
);
