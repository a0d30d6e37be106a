import type { Attachment } from 'svelte/attachments';
import { serverHtml } from '../html';

/** Fills an element with a text of the lab; the terms that the server marked in it can be reached by key. */
export function labText(html: string): Attachment<HTMLElement> {
  return (element) => {
    serverHtml(html)(element);
    for (const term of element.querySelectorAll<HTMLElement>('dfn[data-term]')) {
      term.tabIndex = 0;
      term.role = 'button';
    }
  };
}
