#include "http_accept.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

const char *const accept_types[] = {
    [METRICS_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
    [METRICS_OPEN] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/* How closely a range of the header names what we have: where several match, the closest counts. */
enum closeness { NO_MATCH, ANYTHING, ANY_OF_KIND, TYPE, TYPE_AND_VERSION };

/* A piece of the header, without the white space around it. */
struct piece {
    const char *at;
    size_t length;
};

struct offer {
    const char *kind, *type, *version;
};

/* Takes the next piece off a text, up to a separator. */
static struct piece take(struct piece *from, char separator)
{
    const char *end = memchr(from->at, separator, from->length);
    size_t length = end ? (size_t)(end - from->at) : from->length;
    struct piece piece = {from->at, length};
    size_t taken = end ? length + 1 : length;
    from->at += taken;
    from->length -= taken;
    while (piece.length && (*piece.at == ' ' || *piece.at == '\t'))
        piece.at++, piece.length--;
    while (piece.length &&
           (piece.at[piece.length - 1] == ' ' || piece.at[piece.length - 1] == '\t'))
        piece.length--;
    return piece;
}

static bool is(struct piece piece, const char *word)
{
    return piece.length == strlen(word) && strncasecmp(piece.at, word, piece.length) == 0;
}

static struct piece unquoted(struct piece value)
{
    if (value.length >= 2 && value.at[0] == '"' && value.at[value.length - 1] == '"')
        return (struct piece){value.at + 1, value.length - 2};
    return value;
}

/* "0.75" as 750; what is no such number, as 0: then nothing is sent that might not be wanted. */
static int read_quality(struct piece value)
{
    int quality = 0, scale = 1000;
    for (size_t i = 0; i < value.length && i < 5; i++) {
        char c = value.at[i];
        if (i == 1 && c == '.')
            continue;
        if (c < '0' || c > '9')
            return 0;
        quality += (c - '0') * scale;
        scale /= 10;
    }
    return quality <= 1000 ? quality : 0;
}

/* Reads a range's parameters. */
static enum closeness read_parameters(struct piece range, const struct offer *offer,
                                      enum closeness close, int *quality)
{
    *quality = 1000;
    while (range.length) {
        struct piece value = take(&range, ';'), name = take(&value, '=');
        if (is(name, "q"))
            *quality = read_quality(value);
        else if (is(name, "version"))
            close =
                close >= TYPE && is(unquoted(value), offer->version) ? TYPE_AND_VERSION : NO_MATCH;
    }
    return close;
}

static enum closeness read_range(struct piece range, const struct offer *offer, int *quality)
{
    struct piece type = take(&range, ';'), kind = take(&type, '/');
    enum closeness close = NO_MATCH;
    if (is(kind, offer->kind))
        close = is(type, offer->type) ? TYPE : is(type, "*") ? ANY_OF_KIND : NO_MATCH;
    else if (is(kind, "*") && is(type, "*"))
        close = ANYTHING;
    return read_parameters(range, offer, close, quality);
}

/* How much it is wanted, in thousandths, and by how close a range. */
static enum closeness weigh(const char *accept, const struct offer *offer, int *quality)
{
    struct piece header = {accept, strlen(accept)};
    enum closeness best = NO_MATCH;
    *quality = 0;
    while (header.length) {
        int wanted;
        enum closeness close = read_range(take(&header, ','), offer, &wanted);
        if (close < best || close == NO_MATCH || (close == best && wanted <= *quality))
            continue;
        best = close;
        *quality = wanted;
    }
    return best;
}

enum metrics_format accept_metrics(const char *accept)
{
    static const struct offer text = {"text", "plain", "0.0.4"};
    static const struct offer open = {"application", "openmetrics-text", "1.0.0"};
    int text_wanted, open_wanted;
    if (!accept)
        return METRICS_TEXT;
    weigh(accept, &text, &text_wanted);
    bool named = weigh(accept, &open, &open_wanted) >= TYPE;
    return named && open_wanted > 0 && open_wanted >= text_wanted ? METRICS_OPEN : METRICS_TEXT;
}
