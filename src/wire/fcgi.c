#include "fcgi.h"

#include <stdio.h>
#include <string.h>

enum { VERSION = 1, KEEP_CONN = 1, LONG_LENGTH = 0x80 };

static unsigned get16(const unsigned char *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t left(const struct fcgi_bytes *in)
{
    return (size_t)(in->end - in->at);
}

/* --- reading ------------------------------------------------------------------------------- */

static void skip_padding(struct fcgi_reader *reader, struct fcgi_bytes *in)
{
    size_t n = least(reader->skip, left(in));
    in->at += n;
    reader->skip -= (unsigned)n;
}

/* True if the header is complete. */
static bool take_header(struct fcgi_reader *reader, struct fcgi_bytes *in)
{
    size_t n = least(FCGI_HEADER - reader->have, left(in));
    memcpy(reader->header + reader->have, in->at, n);
    in->at += n;
    reader->have += (unsigned)n;
    return reader->have == FCGI_HEADER;
}

static void take_content(struct fcgi_reader *reader, struct fcgi_bytes *in,
                         struct fcgi_piece *piece)
{
    const unsigned char *header = reader->header;
    size_t n = least(reader->content, left(in));
    bool first = reader->content == get16(header + 4);
    piece->type = header[1];
    piece->id = (uint16_t)get16(header + 2);
    piece->data = in->at;
    piece->size = n;
    in->at += n;
    reader->content -= (unsigned)n;
    piece->last = reader->content == 0;
    piece->whole = first && piece->last;
    if (!piece->last)
        return;
    reader->have = 0;
    reader->skip = header[6];
}

enum fcgi_found fcgi_next(struct fcgi_reader *reader, struct fcgi_bytes *in,
                          struct fcgi_piece *piece)
{
    skip_padding(reader, in);
    if (reader->have < FCGI_HEADER) {
        if (left(in) == 0 || !take_header(reader, in))
            return reader->have && reader->header[0] != VERSION ? FCGI_BROKEN : FCGI_MORE;
        reader->content = get16(reader->header + 4);
    }
    if (reader->header[0] != VERSION)
        return FCGI_BROKEN;
    if (reader->content && left(in) == 0)
        return FCGI_MORE;
    take_content(reader, in, piece);
    return FCGI_PIECE;
}

struct fcgi_begin fcgi_begin(const unsigned char content[static FCGI_BODY])
{
    return (struct fcgi_begin){
        .role = (uint16_t)get16(content),
        .keep = content[2] & KEEP_CONN,
    };
}

/* A length is one byte, or four with the topmost bit set. */
static bool take_length(struct fcgi_bytes *in, size_t *length)
{
    const unsigned char *at = in->at;
    if (left(in) == 0)
        return false;
    if (!(at[0] & LONG_LENGTH)) {
        *length = at[0];
        in->at += 1;
        return true;
    }
    if (left(in) < 4)
        return false;
    *length = (size_t)(at[0] & ~LONG_LENGTH) << 24 | (size_t)at[1] << 16 | get16(at + 2);
    in->at += 4;
    return true;
}

enum fcgi_pair_found fcgi_next_pair(struct fcgi_bytes *in, struct fcgi_pair *pair)
{
    if (left(in) == 0)
        return FCGI_NO_PAIR;
    if (!take_length(in, &pair->name_size) || !take_length(in, &pair->value_size) ||
        pair->name_size > left(in) || pair->value_size > left(in) - pair->name_size)
        return FCGI_BROKEN_PAIR;
    pair->name = in->at;
    pair->value = in->at + pair->name_size;
    in->at = pair->value + pair->value_size;
    return FCGI_PAIR;
}

/* --- writing ------------------------------------------------------------------------------- */

size_t fcgi_put_header(unsigned char *to, enum fcgi_type type, uint16_t id, size_t content)
{
    const unsigned char header[FCGI_HEADER] = {
        VERSION,           (unsigned char)type,           (unsigned char)(id >> 8),
        (unsigned char)id, (unsigned char)(content >> 8), (unsigned char)content,
    };
    memcpy(to, header, sizeof header);
    return sizeof header;
}

size_t fcgi_put_end(unsigned char *to, uint16_t id, uint32_t app_status, enum fcgi_end end)
{
    const unsigned char body[FCGI_BODY] = {
        (unsigned char)(app_status >> 24),
        (unsigned char)(app_status >> 16),
        (unsigned char)(app_status >> 8),
        (unsigned char)app_status,
        (unsigned char)end,
    };
    size_t size = fcgi_put_header(to, FCGI_END_REQUEST, id, sizeof body);
    memcpy(to + size, body, sizeof body);
    return size + sizeof body;
}

size_t fcgi_put_broken(unsigned char *to)
{
    memset(to, 0, FCGI_HEADER);
    return FCGI_HEADER;
}

size_t fcgi_put_unknown_type(unsigned char *to, uint8_t type)
{
    const unsigned char body[FCGI_BODY] = {type};
    size_t size = fcgi_put_header(to, FCGI_UNKNOWN_TYPE, 0, sizeof body);
    memcpy(to + size, body, sizeof body);
    return size + sizeof body;
}

static size_t put_pair(unsigned char *to, const char *name, const char *value)
{
    size_t name_size = strlen(name), value_size = strlen(value);
    to[0] = (unsigned char)name_size;
    to[1] = (unsigned char)value_size;
    memcpy(to + 2, name, name_size);
    memcpy(to + 2 + name_size, value, value_size);
    return 2 + name_size + value_size;
}

static bool is_asked(struct fcgi_bytes asked, const char *name)
{
    struct fcgi_pair pair;
    while (fcgi_next_pair(&asked, &pair) == FCGI_PAIR)
        if (pair.name_size == strlen(name) && memcmp(pair.name, name, pair.name_size) == 0)
            return true;
    return false;
}

size_t fcgi_put_values(unsigned char *to, struct fcgi_bytes asked, unsigned seats)
{
    char many[16];
    const char *const known[][2] = {
        {"FCGI_MAX_CONNS", many}, {"FCGI_MAX_REQS", many}, {"FCGI_MPXS_CONNS", "0"}};
    size_t size = FCGI_HEADER;
    snprintf(many, sizeof many, "%u", seats);
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        if (is_asked(asked, known[i][0]))
            size += put_pair(to + size, known[i][0], known[i][1]);
    fcgi_put_header(to, FCGI_GET_VALUES_RESULT, 0, size - FCGI_HEADER);
    return size;
}
