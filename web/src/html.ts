import type { Attachment } from 'svelte/attachments';

interface Policy {
  createHTML(html: string): unknown;
}
interface PolicyFactory {
  createPolicy(name: string, rules: { createHTML(html: string): string }): Policy;
}

let policy: Policy | undefined;

/** The page's only Trusted Types policy: it lets through what the server sanitised. */
function trusted(html: string): string {
  const factory = (globalThis as { trustedTypes?: PolicyFactory }).trustedTypes;
  policy ??= factory?.createPolicy('kabel', { createHTML: (s) => s }) ?? { createHTML: (s) => s };
  return policy.createHTML(html) as string;
}

/** Fills an element with HTML of the server's own (lab texts). */
export function serverHtml(html: string): Attachment<HTMLElement> {
  return (element) => {
    element.innerHTML = trusted(html);
  };
}
