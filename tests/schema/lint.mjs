// Checks schema.graphql with @graphql-eslint and graphql-schema-linter: node lint.mjs FILE
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { ESLint } from 'eslint';
import { parse, print } from 'graphql';
import { configFor } from './eslint.config.mjs';
import { exceptions } from './exceptions.mjs';

const file = process.argv[2];
const text = await readFile(file, 'utf8');
const places = placesOf(parse(text));

const SKIPPED = /-sorted-alphabetically$/; // fields stand in the order in which a reader needs them

const used = new Set();
const problems = [...(await eslintProblems()), ...(await linterProblems())].filter(isNoException);
for (const { line, rule, message } of problems) {
  console.error(`${file}:${line} ${placeAt(line).coordinate}: ${message} (${rule})`);
}
const types = new Set(places.map(({ type }) => type));
const unused = exceptions.filter((each) => !used.has(each) && each.types.some((type) => types.has(type)));
for (const { rules, reason } of unused) {
  console.error(`tests/schema/exceptions.mjs: nothing needs the exception from ${rules}: ${reason}`);
}
const failed = problems.length + unused.length > 0;
console.log(failed ? `${problems.length} problems` : `${file}: the linters report nothing`);
process.exitCode = failed ? 1 : 0;

function isNoException({ line, rule }) {
  const place = placeAt(line);
  const found = exceptions.find(({ rules, covers }) => rules.includes(rule) && covers(place));
  if (found) used.add(found);
  return !found;
}

async function eslintProblems() {
  const eslint = new ESLint({ cwd: dirname(resolve(file)), overrideConfigFile: true, overrideConfig: configFor(file) });
  const results = await eslint.lintFiles([resolve(file)]);
  return results.flatMap(({ messages }) =>
    messages.map(({ line, ruleId, message }) => ({
      line,
      rule: ruleId ? ruleId.split('/').pop() : 'syntax',
      message,
    })),
  );
}

async function linterProblems() {
  const program = createRequire(import.meta.url).resolve('graphql-schema-linter/lib/cli.js');
  const output = await new Promise((done, fail) => {
    execFile(process.execPath, [program, '--format', 'json', file], (error, stdout, stderr) => {
      if (stdout) done(stdout);
      else fail(error ?? new Error(stderr));
    });
  });
  return JSON.parse(output)
    .errors.filter(({ rule }) => !SKIPPED.test(rule))
    .map(({ location, rule, message }) => ({ line: location.line, rule, message }));
}

// The line ranges of all definitions with their coordinates, outer ones first.
function placesOf(document) {
  const found = [];
  const add = (node, place) =>
    found.push({
      ...place,
      first: node.loc.startToken.line,
      last: node.loc.endToken.line,
      returns: node.type && print(node.type).replace(/[[\]!]/g, ''),
    });
  for (const definition of document.definitions) {
    const type = definition.name?.value ?? 'schema';
    add(definition, { coordinate: type, type });
    for (const member of [...(definition.fields ?? []), ...(definition.values ?? [])]) {
      const field = member.name.value;
      add(member, { coordinate: `${type}.${field}`, type, field });
      for (const argument of member.arguments ?? []) {
        add(argument, { coordinate: `${type}.${field}(${argument.name.value}:)`, type, field });
      }
    }
  }
  return found;
}

function placeAt(line) {
  return places.findLast(({ first, last }) => first <= line && line <= last) ?? { coordinate: 'schema' };
}
