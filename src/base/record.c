#include "record.h"

#include "text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const level_words[] = {
    [LOG_ERR] = "err",   [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
    [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

/* The random ids never change: systemd/preforkd.catalog has a text for each. */
static const struct {
    const char *word, *id;
} names[LOG_NAMES] = {
    [LOG_NAME_START] = {"start", "2029e67c36714d579daf9587dfc7ca99"},
    [LOG_NAME_READY] = {"ready", "81ef05c9d5044e369c31bd1d4a96daf6"},
    [LOG_NAME_RELOAD] = {"reload", "83de9a3f181a40938e0fa0683e22bd1d"},
    [LOG_NAME_REFUSED] = {"reload-refused", "0748a687bf4643daa34f292635d0da77"},
    [LOG_NAME_DEATH] = {"death", "4052e5397af0459a8ade59c1f46d5346"},
    [LOG_NAME_BACK_OFF] = {"back-off", "9a3ca1cbeda34a19a0c9d0f038916141"},
    [LOG_NAME_FULL] = {"full", "f725076ca8cd45609bf5b137dba3bb39"},
    [LOG_NAME_OVERLOAD] = {"overload", "0ed0c437a4154e7ca0843d4f58b19482"},
};

/* A word of a tail. */
struct field {
    const char *key, *value;
    int key_length, value_length;
};

/* A record that does not fit is cut. */
static int length_of(const struct text_line *out)
{
    return out->length < RECORD_MAX ? (int)out->length : RECORD_MAX - 1;
}

static int key_length(const char *at)
{
    int length = 0;
    while ((at[length] >= 'a' && at[length] <= 'z') || (length && at[length] == '_'))
        length++;
    return at[length] == '=' ? length : 0;
}

/* Reads the next word, and moves *at past it. False if there is none, or it is not KEY=VALUE. A
 * quoted value ends with a quote before a space or the end. */
static bool next_field(const char **at, struct field *field)
{
    const char *begin = *at + strspn(*at, " "), *end;
    int length = key_length(begin);
    if (!length)
        return false;
    *field = (struct field){begin, begin + length + 1, length, 0};
    if (*field->value == '"') {
        end = ++field->value;
        while (*end && !(end[0] == '"' && (end[1] == ' ' || !end[1])))
            end++;
    } else {
        end = field->value + strcspn(field->value, " ");
    }
    field->value_length = (int)(end - field->value);
    *at = end + (*end == '"');
    return true;
}

int record_pool(const char *text, const char **name)
{
    static const char head[] = "pool ";
    if (strncmp(text, head, sizeof head - 1) != 0)
        return 0;
    *name = text + sizeof head - 1;
    size_t length = strcspn(*name, ": ");
    return (*name)[length] == ':' && (*name)[length + 1] == ' ' ? (int)length : 0;
}

/* The last " pool=NAME" that is a whole word. NULL: none. */
static const char *last_pool(const char *text, const char *name, int length)
{
    static const char key[] = " pool=";
    const char *found = NULL;
    for (const char *at = text; (at = strstr(at, key)); at++) {
        const char *value = at + sizeof key - 1;
        if (strncmp(value, name, (size_t)length) == 0 && (value[length] == ' ' || !value[length]))
            found = at;
    }
    return found;
}

/* Where the tail of a line begins: at a space, or at its end. */
static const char *tail_of(const char *text)
{
    const char *name, *tail = text + strlen(text);
    int length = record_pool(text, &name);
    if (length) {
        const char *found = last_pool(text, name, length);
        return found ? found : tail;
    }
    for (const char *at = tail; at > text;) {
        do
            at--;
        while (at > text && *at != ' ');
        if (*at != ' ' || !key_length(at + 1) || memchr(at, '"', (size_t)(tail - at)))
            break;
        tail = at;
        if (strncmp(at + 1, "pool=", 5) == 0)
            break;
    }
    return tail;
}

/* Finds the last field with this key; false: there is none. */
static bool find_field(const char *tail, const char *key, struct field *found)
{
    struct field field;
    bool is_there = false;
    while (next_field(&tail, &field)) {
        if (field.key_length != (int)strlen(key) ||
            strncmp(field.key, key, (size_t)field.key_length) != 0)
            continue;
        *found = field;
        is_there = true;
    }
    return is_there;
}

static bool find_pool(const char *text, const char *tail, struct field *found)
{
    found->value_length = record_pool(text, &found->value);
    return found->value_length || find_field(tail, "pool", found);
}

int record_syslog(char to[static RECORD_MAX], const struct record *record)
{
    struct text_line out = {.at = to, .room = RECORD_MAX};
    char stamp[32];
    time_t now = time(NULL);
    struct tm local;
    strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", localtime_r(&now, &local));
    text_add(&out, "<%d>%s %s[%d]: %s", record->facility | record->level, stamp, record->ident,
             (int)record->pid, record->text);
    return length_of(&out);
}

/* The journal's native form (systemd's JOURNAL_NATIVE_PROTOCOL): one line for each field. Our texts
 * contain no newline. */
int record_journal(char to[static RECORD_MAX], const struct record *record)
{
    struct text_line out = {.at = to, .room = RECORD_MAX};
    const char *tail = tail_of(record->text);
    struct field field;
    text_add(&out, "PRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=%s\nSYSLOG_PID=%d\n",
             record->level, record->facility >> 3, record->ident, (int)record->pid);
    if (find_pool(record->text, tail, &field))
        text_add(&out, "PREFORKD_POOL=%.*s\n", field.value_length, field.value);
    if (find_field(tail, "pid", &field))
        text_add(&out, "PREFORKD_PID=%.*s\n", field.value_length, field.value);
    if (record->name)
        text_add(&out, "PREFORKD_EVENT=%s\nMESSAGE_ID=%s\n", names[record->name].word,
                 names[record->name].id);
    text_add(&out, "MESSAGE=%s\n", record->text);
    return length_of(&out);
}

int record_plain(char to[static RECORD_MAX], const struct record *record)
{
    struct text_line out = {.at = to, .room = RECORD_MAX};
    text_add(&out, "%s[%d]: %s: %s\n", record->ident, (int)record->pid, level_words[record->level],
             record->text);
    return length_of(&out);
}

/* Writes a JSON string. Bytes that are not UTF-8 become U+FFFD. */
static void quote(struct text_line *out, const char *text, int length)
{
    text_add(out, "\"");
    for (int i = 0; i < length;) {
        uint32_t character;
        size_t size = text_decode(text + i, (size_t)(length - i), &character);
        if (text[i] == '"' || text[i] == '\\')
            text_add(out, "\\%c", text[i]);
        else if (size)
            text_add(out, "%.*s", (int)size, text + i);
        else
            text_add(out, "\xef\xbf\xbd");
        i += size ? (int)size : 1;
    }
    text_add(out, "\"");
}

static void print_time(struct text_line *out)
{
    char stamp[32];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
    text_add(out, "{\"time\":\"%s.%06ldZ\"", stamp, now.tv_nsec / 1000);
}

int record_json(char to[static RECORD_MAX], const struct record *record)
{
    struct text_line out = {.at = to, .room = RECORD_MAX};
    const char *tail = tail_of(record->text), *at = tail, *between = "";
    struct field field, last = {0};
    print_time(&out);
    text_add(&out, ",\"level\":\"%s\",\"ident\":", level_words[record->level]);
    quote(&out, record->ident, (int)strlen(record->ident));
    text_add(&out, ",\"pid\":%d", (int)record->pid);
    if (record->name)
        text_add(&out, ",\"event\":\"%s\"", names[record->name].word);
    if (find_pool(record->text, tail, &field)) {
        text_add(&out, ",\"pool\":");
        quote(&out, field.value, field.value_length);
    }
    text_add(&out, ",\"message\":");
    quote(&out, record->text, (int)(tail - record->text));
    text_add(&out, ",\"fields\":{");
    while (next_field(&at, &field)) {
        char key[64];
        snprintf(key, sizeof key, "%.*s", field.key_length, field.key);
        if (!find_field(tail, key, &last) || last.key != field.key)
            continue; /* each key once, with its last value */
        text_add(&out, "%s\"%s\":", between, key);
        quote(&out, field.value, field.value_length);
        between = ",";
    }
    text_add(&out, "}}\n");
    return length_of(&out);
}
