/*
 * cgi_header - what a CGI program says before its body (RFC 3875, 6.2 and 6.3): where it ends,
 * whether it is one, and that of a program that speaks HTTP itself (NPH) as one.
 *
 * Called by: cgi_relay.
 * Runs in:   a worker.
 */
#ifndef PREFORKD_HANDLERS_CGI_HEADER_H
#define PREFORKD_HANDLERS_CGI_HEADER_H

#include <stdbool.h>
#include <stddef.h>

/* The size of the header with its empty line, of which the text is the beginning; 0 where that has
 * not come yet. In what stands before `from` it was looked for already. */
size_t cgi_header_size(const char *text, size_t size, size_t from);

/* What is wrong with a header: NULL, or a few words for the log. */
const char *cgi_header_fault(const char *text, size_t size);

/* How long the body is that it announces; -1 where it doesn't say. */
long long cgi_header_length(const char *text, size_t size);

/* Whether it is an HTTP answer's. */
bool cgi_header_is_nph(const char *text, size_t size);

/* Copies it as the web server wants it, by up to CGI_HEADER_MORE bytes longer than it was. The size that
 * it has. */
enum { CGI_HEADER_MORE = 32 };
size_t cgi_header_copy(char *to, const char *text, size_t size);

#endif
