/* page.c - one page of a list: of all that is offered in any order, the first `limit`.
 *
 * Tables are not sorted, and lists are asked for page by page. One pass over the table keeps the
 * lowest entries in a heap whose top is the highest of them: a page of a table of n entries costs
 * n comparisons and a few more, not n for every row. */
#include "core/internal.h"

void ali_page_init(struct ali_page *page, uint32_t limit, ali_before_fn *before)
{
    page->before = before;
    page->limit = limit && limit < ALI_PAGE_ROWS_MAX ? limit : ALI_PAGE_ROWS_MAX;
    page->count = 0;
}

/* Moves the entry at the top down to where it belongs among the first `count`. */
static void sink(const struct al_node *node, struct ali_page *page, uint32_t count)
{
    ali_ref ref = page->refs[0];
    uint32_t at = 0, child;

    while ((child = 2 * at + 1) < count) {
        if (child + 1 < count && page->before(node, page->refs[child], page->refs[child + 1]))
            child++;
        if (page->before(node, page->refs[child], ref))
            break;
        page->refs[at] = page->refs[child];
        at = child;
    }
    page->refs[at] = ref;
}

void ali_page_offer(const struct al_node *node, struct ali_page *page, ali_ref ref)
{
    uint32_t at = page->count;

    if (page->count == page->limit) {
        if (!page->before(node, ref, page->refs[0]))
            return;
        page->refs[0] = ref;
        sink(node, page, page->count);
        return;
    }
    page->count++;
    while (at > 0) {
        uint32_t above = (at - 1) / 2;

        if (!page->before(node, page->refs[above], ref))
            break;
        page->refs[at] = page->refs[above];
        at = above;
    }
    page->refs[at] = ref;
}

void ali_page_sort(const struct al_node *node, struct ali_page *page)
{
    for (uint32_t end = page->count; end > 1; end--) {
        ali_ref highest = page->refs[0];

        page->refs[0] = page->refs[end - 1];
        sink(node, page, end - 1);
        page->refs[end - 1] = highest;
    }
}
