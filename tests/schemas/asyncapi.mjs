// Is standard input a valid description in AsyncAPI?
import { Parser } from "@asyncapi/parser";
import { readFileSync } from "node:fs";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
// 0 is an error, 1 a warning; the rest is advice.
const errors = diagnostics.filter((diagnostic) => diagnostic.severity === 0);
for (const { message, path } of errors) console.error(`${path.join(".")}: ${message}`);
if (errors.length > 0 || !document) process.exit(1);
console.log(`${document.operations().all().length} operations, ${document.allMessages().all().length} messages`);
