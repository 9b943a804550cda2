// Step 5: the plan of the statement as a tree, with the share of each node in the time.

import { useMutation } from 'urql';
import { graphql } from './gql';
import type { ExplainMutation } from './gql/graphql';
import { Problem, type Target } from './parts';

const Explain = graphql(`mutation Explain($input: ExplainQueryInput!) {
  explainQuery(input: $input) {
    error { message detail hint line column }
    plan { executionMs nodes { id parentId nodeType relation index planRows actualRows selfMs selfShare } }
  }
}`);

type PlanNode = NonNullable<NonNullable<ExplainMutation['explainQuery']>['plan']>['nodes'][number];

export function PlanPanel({ target, statement }: { target: Target; statement: string }) {
  const [{ data, error, fetching }, explain] = useMutation(Explain);
  const nodes = data?.explainQuery?.plan?.nodes;
  const ask = (analyze: boolean) => explain({ input: { ...target, statement, analyze } });
  return (
    <>
      <p className="row">
        <button disabled={fetching} onClick={() => ask(false)}>Explain</button>
        <button disabled={fetching} onClick={() => ask(true)}>Explain and measure</button>
      </p>
      <Problem error={error ?? data?.explainQuery?.error} />
      {nodes && <ul className="plan" aria-label="Plan"><Nodes nodes={nodes} parentId={null} /></ul>}
    </>
  );
}

function Nodes({ nodes, parentId }: { nodes: PlanNode[]; parentId: string | null }) {
  return nodes
    .filter((node) => node.parentId === parentId)
    .map((node) => (
      <li key={node.id}>
        {[node.nodeType, node.relation, node.index && `by ${node.index}`].filter(Boolean).join(' ')}{' '}
        <small>
          {node.planRows} rows planned
          {node.selfShare !== null && `, ${node.actualRows} seen, ${node.selfMs} ms`}
        </small>
        {node.selfShare !== null && <meter value={node.selfShare} title="Share of the time" />}
        <ul><Nodes nodes={nodes} parentId={node.id} /></ul>
      </li>
    ));
}
