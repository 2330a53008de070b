/*
 * status_page - the page, as status_page.html has it; made of that by status_page.py.
 *
 * Owns:      its bytes, and the Content-Security-Policy that lets its own script and style run, by
 *            their hashes, and nothing else.
 * Called by: status_http.
 * Runs in:   the workers of a pool with the handler status.
 */
#ifndef PREFORKD_HANDLERS_STATUS_PAGE_H
#define PREFORKD_HANDLERS_STATUS_PAGE_H

#include <stddef.h>

extern const char status_page[], status_page_policy[];
extern const size_t status_page_size;

#endif
