#include "cgi_header.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A line without its end. */
struct line {
    const char *text;
    size_t size;
};

/* Takes the next line of a text that ends with one. */
static struct line next_line(const char **at, const char *end)
{
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    struct line line = {*at, (size_t)(newline - *at)};
    *at = newline + 1;
    if (line.size && line.text[line.size - 1] == '\r')
        line.size--;
    return line;
}

size_t cgi_header_size(const char *text, size_t size, size_t from)
{
    const char *end = text + size;
    /* The empty line may begin with the last bytes that were looked at: with LF, or LF CR. */
    const char *at = text + (from > 2 ? from - 2 : 0);
    if (size >= 1 && text[0] == '\n')
        return 1;
    if (size >= 2 && text[0] == '\r' && text[1] == '\n')
        return 2;
    while ((at = memchr(at, '\n', (size_t)(end - at)))) {
        at++;
        if (at < end && at[0] == '\n')
            return (size_t)(at + 1 - text);
        if (at + 1 < end && at[0] == '\r' && at[1] == '\n')
            return (size_t)(at + 2 - text);
    }
    return 0;
}

/* RFC 9110, 5.6.2. */
static bool is_token(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* The length of the field's name; 0: it is no field. */
static size_t name_size(const struct line *line)
{
    size_t size = 0;
    while (size < line->size && is_token(line->text[size]))
        size++;
    return size < line->size && line->text[size] == ':' ? size : 0;
}

static bool has_name(const struct line *line, const char *name)
{
    size_t size = strlen(name);
    return name_size(line) == size && strncasecmp(line->text, name, size) == 0;
}

static bool has_any(const struct line *line, const char *const *names)
{
    for (; *names; names++)
        if (has_name(line, *names))
            return true;
    return false;
}

static bool is_status_line(const struct line *line)
{
    static const char form[] = "HTTP/0.0 000";
    if (line->size < sizeof form - 1)
        return false;
    for (size_t i = 0; i < sizeof form - 1; i++)
        if (form[i] == '0' ? !isdigit((unsigned char)line->text[i]) : line->text[i] != form[i])
            return false;
    return true;
}

bool cgi_header_is_nph(const char *text, size_t size)
{
    struct line first = next_line(&text, text + size);
    return is_status_line(&first);
}

/* Which fields there are, is between the program and the web server: X-Sendfile alone is an answer, and
 * so is a cookie. */
const char *cgi_header_fault(const char *text, size_t size)
{
    const char *at = text, *end = text + size;
    struct line line = next_line(&at, end);
    if (line.size == 0)
        return "begins with an empty line, not with a header";
    if (memchr(text, '\0', size))
        return "has a NUL in its header";
    if (is_status_line(&line))
        line = next_line(&at, end);
    for (; line.size; line = next_line(&at, end))
        if (name_size(&line) == 0)
            return "has a line in its header that is no header";
    return NULL;
}

/* The first field of this name; of size 0: there is none. */
static struct line find_field(const char *text, size_t size, const char *name)
{
    const char *at = text, *end = text + size;
    struct line line = next_line(&at, end);
    while (line.size && !has_name(&line, name))
        line = next_line(&at, end);
    return line;
}

long long cgi_header_length(const char *text, size_t size)
{
    static const char name[] = "Content-Length";
    struct line line = find_field(text, size, name);
    if (line.size == 0)
        return -1;
    const char *value = line.text + sizeof name;
    return strtoll(value, NULL, 10); /* it ends at the line's end at the latest */
}

static char *put(char *to, const void *data, size_t size)
{
    memcpy(to, data, size);
    return to + size;
}

/* What concerns the connection is the web server's alone. */
static size_t copy_nph(char *to, const char *text, size_t size)
{
    static const char *const dropped[] = {"Connection", "Keep-Alive", "Transfer-Encoding", NULL};
    static const char version[] = "HTTP/0.0 ";
    const char *at = text, *end = text + size;
    char *out = to;
    struct line line = next_line(&at, end);
    out = put(out, "Status: ", 8);
    out = put(out, line.text + sizeof version - 1, line.size - (sizeof version - 1));
    out = put(out, "\n", 1); /* one byte, since the header may not grow where its lines end so */
    for (line = next_line(&at, end); line.size; line = next_line(&at, end))
        if (!has_any(&line, dropped))
            out = put(put(out, line.text, line.size), "\n", 1);
    return (size_t)(put(out, "\n", 1) - to);
}

/* A redirection without a status is one all the same (RFC 3875, 6.2.3). Not every web server knows, and
 * what a client gets then is a blank page. Of a path (6.2.2) the web server could send what is there
 * by itself; those that would do so do it with a status too. */
static size_t put_status(char *to, const char *text, size_t size)
{
    static const char found[] = "Status: 302 Found\r\n";
    if (!find_field(text, size, "Location").size || find_field(text, size, "Status").size)
        return 0;
    memcpy(to, found, sizeof found - 1);
    return sizeof found - 1;
}

size_t cgi_header_copy(char *to, const char *text, size_t size)
{
    if (cgi_header_is_nph(text, size))
        return copy_nph(to, text, size);
    size_t status = put_status(to, text, size);
    memcpy(to + status, text, size);
    return status + size;
}
