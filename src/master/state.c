#include "state.h"

#include "../base/arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADING "preforkd-state"
#define ENDING  "end"

enum {
    RECORDS_MAX = 1 << 20, /* of a kind: more than a scoreboard has slots */
    SPARE = 4096,          /* bytes: no record is larger */
};

/* A field of a record: a text if it has a size, else a number. */
struct field {
    const char *key;
    size_t offset, size;
    long long min, max;
    bool required, is_fd;
};

#define ROW(of, name) .key = #name, .offset = offsetof(struct of, name)
#define NUMBER_ROW(of, name, least, most, must)                                                    \
    {ROW(of, name), .min = (least), .max = (most), .required = (must)},
#define FD_ROW(of, name, least, must)                                                              \
    {ROW(of, name), .min = (least), .max = INT_MAX, .required = (must), .is_fd = true},
#define TEXT_ROW(of, name, room) {ROW(of, name), .size = (room)},
#define KIND(word, of, FIELDS)                                                                     \
    word, sizeof(struct of), (const struct field[])                                                \
    {                                                                                              \
        FIELDS(of, NUMBER_ROW, FD_ROW, TEXT_ROW)                                                   \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

static const struct kind {
    const char *word;
    size_t size;
    const struct field *fields; /* ends with a field without a key */
} kinds[STATE_KINDS] = {
    [STATE_DAEMON] = {KIND("daemon", state_daemon, STATE_DAEMON_FIELDS)},
    [STATE_SOCKET] = {KIND("socket", state_socket, STATE_SOCKET_FIELDS)},
    [STATE_LISTENER] = {KIND("listener", state_listener, STATE_LISTENER_FIELDS)},
    [STATE_POOL] = {KIND("pool", state_pool, STATE_POOL_FIELDS)},
    [STATE_WORKER] = {KIND("worker", state_worker, STATE_WORKER_FIELDS)},
    [STATE_CONTROL] = {KIND("control", state_listener, STATE_LISTENER_FIELDS)},
    [STATE_CALLER] = {KIND("caller", state_caller, STATE_CALLER_FIELDS)},
    [STATE_COUNTS] = {KIND("counts", state_counts, STATE_COUNTS_FIELDS)},
    [STATE_BOARD] = {KIND("board", state_board, STATE_BOARD_FIELDS)},
    [STATE_GROUP] = {KIND("group", state_group, STATE_GROUP_FIELDS)},
    [STATE_DEATH] = {KIND("death", state_death, STATE_DEATH_FIELDS)},
    [STATE_DETACHED] = {KIND("detached", state_detached, STATE_DETACHED_FIELDS)},
};

_Static_assert(sizeof(struct state_counts) <= SPARE && sizeof(struct state_death) <= SPARE &&
                   sizeof(struct state_worker) <= SPARE && sizeof(struct state_daemon) <= SPARE,
               "a spare record has room");

void *state_add(struct state *state, enum state_kind kind)
{
    static union {
        struct state_counts largest;
        char bytes[SPARE];
    } spare; /* given out if memory runs out */
    struct state_list *list = &state->lists[kind];
    size_t size = kinds[kind].size;
    if (list->count == RECORDS_MAX ||
        !list_grow(&list->at, &list->room, (uint32_t)list->count + 1, size)) {
        state->cut = true;
        return memset(&spare, 0, sizeof spare);
    }
    return memset((char *)list->at + (size_t)list->count++ * size, 0, size);
}

void *state_at(const struct state *state, enum state_kind kind, int index)
{
    const struct state_list *list = &state->lists[kind];
    return index < list->count ? (char *)list->at + (size_t)index * kinds[kind].size : NULL;
}

static long long number_at(const char *record, const struct field *field)
{
    long long number;
    memcpy(&number, record + field->offset, sizeof number);
    return number;
}

int state_next_fd(const struct state *state, struct state_cursor *cursor)
{
    for (; cursor->kind < STATE_KINDS; cursor->kind++, cursor->index = 0) {
        const char *record;
        for (; (record = state_at(state, (enum state_kind)cursor->kind, cursor->index));
             cursor->index++, cursor->field = 0) {
            const struct field *field = &kinds[cursor->kind].fields[cursor->field];
            for (; field->key; field++) {
                cursor->field++;
                if (field->is_fd && number_at(record, field) > 2)
                    return (int)number_at(record, field);
            }
        }
    }
    return -1;
}

void state_free(struct state *state)
{
    for (int i = 0; i < STATE_KINDS; i++)
        free(state->lists[i].at);
    *state = (struct state){0};
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Writes bytes that would end a value or a line as %XX. */
static void write_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte <= ' ' || byte == '%' || byte == 0x7f)
            fprintf(out, "%%%02X", byte);
        else
            fputc(byte, out);
    }
}

static void write_record(FILE *out, const struct kind *kind, const char *record)
{
    fputs(kind->word, out);
    for (const struct field *f = kind->fields; f->key; f++) {
        fprintf(out, " %s=", f->key);
        if (f->size)
            write_text(out, record + f->offset);
        else
            fprintf(out, "%lld", number_at(record, f));
    }
    fputc('\n', out);
}

void state_write(const struct state *state, FILE *out)
{
    const char *record;
    fprintf(out, "%s %d\n", HEADING, STATE_VERSION);
    for (int kind = 0; kind < STATE_KINDS; kind++)
        for (int i = 0; (record = state_at(state, (enum state_kind)kind, i)); i++)
            write_record(out, &kinds[kind], record);
    fprintf(out, "%s\n", ENDING);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reading {
    struct state *state;
    int line;
    char *why;
    size_t size;
};

static int refuse(const struct reading *reading, const char *what, const char *of)
{
    snprintf(reading->why, reading->size, "its line %d: %s%s%.40s", reading->line, what,
             *of ? " " : "", of);
    return -1;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int read_text(const struct reading *reading, const struct field *field, const char *value,
                     char *to)
{
    size_t length = 0;
    for (; *value; value++) {
        int byte = (unsigned char)*value;
        if (byte == '%') {
            int high = hex_digit(value[1]), low = high < 0 ? -1 : hex_digit(value[2]);
            if (low < 0 || high * 16 + low == 0)
                return refuse(reading, "a text that can't be read:", field->key);
            byte = high * 16 + low;
            value += 2;
        }
        if (length + 1 == field->size)
            return refuse(reading, "a text that is too long:", field->key);
        to[length++] = (char)byte;
    }
    to[length] = '\0';
    return 0;
}

static int read_number(const struct reading *reading, const struct field *field, const char *value,
                       char *to)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    bool clean = (*value == '-' || hex_digit(*value) >= 0) && *end == '\0';
    if (!clean || errno || number < field->min || number > field->max)
        return refuse(reading, "no number, or out of range:", field->key);
    memcpy(to, &number, sizeof number);
    return 0;
}

/* Reads one KEY=VALUE. Sets the field's bit in `seen`. */
static int read_pair(const struct reading *reading, const struct kind *kind, char *pair,
                     char *record, unsigned *seen)
{
    char *value = strchr(pair, '=');
    if (!value)
        return refuse(reading, "not KEY=VALUE:", pair);
    *value++ = '\0';
    const struct field *field = kind->fields;
    while (field->key && strcmp(field->key, pair) != 0)
        field++;
    if (!field->key)
        return 0;
    *seen |= 1u << (field - kind->fields);
    return field->size ? read_text(reading, field, value, record + field->offset)
                       : read_number(reading, field, value, record + field->offset);
}

static int read_record(const struct reading *reading, char *line)
{
    unsigned seen = 0;
    int kind = 0;
    const char *word = strsep(&line, " ");
    while (kind < STATE_KINDS && strcmp(kinds[kind].word, word) != 0)
        kind++;
    if (kind == STATE_KINDS)
        return 0;
    char *record = state_add(reading->state, (enum state_kind)kind);
    if (reading->state->cut)
        return refuse(reading, "out of memory", "");
    while (line)
        if (read_pair(reading, &kinds[kind], strsep(&line, " "), record, &seen) != 0)
            return -1;
    for (const struct field *f = kinds[kind].fields; f->key; f++)
        if (f->required && !(seen & 1u << (f - kinds[kind].fields)))
            return refuse(reading, "missing:", f->key);
    return 0;
}

static int read_heading(const struct reading *reading, const char *line)
{
    char expected[sizeof HEADING + 12];
    snprintf(expected, sizeof expected, "%s %d", HEADING, STATE_VERSION);
    if (strcmp(line, expected) == 0)
        return 0;
    if (strncmp(line, HEADING " ", sizeof HEADING) != 0)
        return refuse(reading, "no state of a preforkd", "");
    return refuse(reading, "a version that this program doesn't know:", line + sizeof HEADING);
}

/* Each line ends with a newline, and nothing follows the last line. */
static int read_lines(struct reading *reading, char *text)
{
    while (*text) {
        char *line = text, *end = strchr(text, '\n');
        if (!end)
            break;
        *end = '\0';
        text = end + 1;
        reading->line++;
        if (reading->line > 1 && strcmp(line, ENDING) == 0)
            return *text ? refuse(reading, "something behind its end", "") : 0;
        if ((reading->line == 1 ? read_heading(reading, line) : read_record(reading, line)) != 0)
            return -1;
    }
    return refuse(reading, "it is not whole", "");
}

int state_read(struct state *state, const char *text, size_t length, char *why, size_t size)
{
    struct reading reading = {.state = state, .why = why, .size = size};
    char *copy = strndup(text, length);
    int result = copy ? read_lines(&reading, copy) : refuse(&reading, "out of memory", "");
    free(copy);
    if (result == 0 && state->lists[STATE_DAEMON].count != 1)
        result = refuse(&reading, "not one line about the daemon", "");
    if (result != 0)
        state_free(state);
    return result;
}
