#include "syntax.h"

#include "token.h"

#include <ctype.h>
#include <string.h>

/* Sections in sections: a pool holds some, deeper there are none. A bound on the recursion. */
enum { DEPTH_MAX = 8 };

/* Stands in the copy for control characters, whose fault is noted: blank between words, nothing in
 * one. */
enum { SPOILER = '\x01' };

struct scan {
    struct tokens tokens;
    struct token token; /* the one to be read next */
    struct arena *arena;
    char *out; /* the text for libconfuse */
    size_t used;
    int out_line;
    bool spoiled; /* the statement being read */
};

static void advance(struct scan *scan)
{
    scan->token = token_next(&scan->tokens);
}

static void put(struct scan *scan, char c)
{
    if (c == SPOILER) {
        scan->spoiled = true;
        return;
    }
    scan->out[scan->used++] = c;
    if (c == '\n')
        scan->out_line++;
}

/* Each token stands in its own line, as in the file. */
static void put_gap(struct scan *scan, int line)
{
    while (scan->out_line < line)
        put(scan, '\n');
    put(scan, ' ');
}

static void put_token(struct scan *scan)
{
    put_gap(scan, scan->token.line);
    for (size_t i = 0; i < scan->token.size; i++)
        put(scan, scan->token.text[i]);
    advance(scan);
}

static bool fault(struct scan *scan, int line, const char *text)
{
    if (scan->token.type != TOKEN_BROKEN)
        faults_add(scan->tokens.faults, scan->tokens.file, line, "%s", text);
    return false;
}

/* How much of a text a fault shows: its first line, and not too much of it. */
static int shown(const char *text, size_t size)
{
    int length = 0;
    while (length < 40 && (size_t)length < size && text[length] != '\n')
        length++;
    return length;
}

/* "unexpected ...; expected ...": what stands where something else should. Always false. */
static bool unexpected(struct scan *scan, const char *expected)
{
    const struct token *token = &scan->token;
    if (token->type == TOKEN_BROKEN)
        return false;
    if (token->type == TOKEN_END)
        faults_add(scan->tokens.faults, scan->tokens.file, token->line,
                   "the file ends where %s is expected", expected);
    else
        faults_add(scan->tokens.faults, scan->tokens.file, token->line,
                   "unexpected %s%.*s%s; expected %s", token->type == TOKEN_STRING ? "" : "\"",
                   shown(token->text, token->size), token->text,
                   token->type == TOKEN_STRING ? "" : "\"", expected);
    return false;
}

/* A word, or what stands between the quotes of a string. */
static char *token_copy(struct scan *scan)
{
    size_t quote = scan->token.type == TOKEN_STRING ? 1 : 0;
    char *copy = arena_take(scan->arena, scan->token.size + 1), *to = copy;
    for (size_t i = quote; i < scan->token.size - quote; i++) {
        if (scan->token.text[i] != SPOILER)
            *to++ = scan->token.text[i];
        else
            scan->spoiled = true;
    }
    return copy;
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* The byte that digits behind a backslash stand for; -1 where libconfuse can't read them, as it
 * takes more than three of them together. `size` is set to the length of the digits. */
static int octal_value(const char *digits, size_t *size)
{
    int value = 0;
    for (*size = 0; isdigit((unsigned char)digits[*size]); ++*size)
        value = *size < 3 && is_octal(digits[*size]) ? value * 8 + digits[*size] - '0' : 256;
    return value < 256 ? value : -1;
}

static int hex_value(const char *digits, size_t *size)
{
    static const char hex[] = "0123456789abcdef";
    int value = 0;
    for (*size = 0; *size < 2 && isxdigit((unsigned char)digits[*size]); ++*size)
        value = value * 16 + (int)(strchr(hex, tolower((unsigned char)digits[*size])) - hex);
    return *size ? value : -1;
}

/* What follows a backslash in a "..." string, `size` characters of it: the byte that it stands for,
 * or -1 where nothing is known of it. (The closing quote is behind: the digits end.) */
static int escape_value(const char *escape, size_t *size)
{
    if (isdigit((unsigned char)*escape))
        return octal_value(escape, size);
    if (*escape == 'x') {
        int value = hex_value(escape + 1, size);
        ++*size;
        return value;
    }
    *size = 1;
    return !isalpha((unsigned char)*escape) || strchr("abefnrtv", *escape) ? 1 : -1;
}

/* Writes an escape of a "..." string; returns its length, the backslash not counted. */
static size_t put_escape(struct scan *scan, const char *escape)
{
    size_t size;
    int value = escape_value(escape, &size);
    if (value > 0) {
        put(scan, '\\');
        for (size_t i = 0; i < size; i++)
            put(scan, escape[i]);
        return size;
    }
    scan->spoiled = true;
    if (value == 0)
        faults_add(scan->tokens.faults, scan->tokens.file, scan->out_line,
                   "\\%.*s stands for NUL, which no text may hold", (int)size, escape);
    else
        faults_add(scan->tokens.faults, scan->tokens.file, scan->out_line,
                   "unknown escape \\%.*s; write \\\\ for a backslash", (int)size, escape);
    return size;
}

static void put_string(struct scan *scan)
{
    const struct token *token = &scan->token;
    bool single = token->text[0] == '\'';
    for (size_t i = 0; i < token->size; i++) {
        if (token->text[i] == '$' && !single)
            put(scan, '\\');
        if (token->text[i] == '\\' && !single)
            i += put_escape(scan, token->text + i + 1);
        else
            put(scan, token->text[i]);
    }
}

/* A word is written quoted, for libconfuse skips an asterisk and expands ${NAME} outside of quotes.
 */
static void put_word(struct scan *scan)
{
    put(scan, '"');
    for (size_t i = 0; i < scan->token.size; i++) {
        if (strchr("\\$", scan->token.text[i]))
            put(scan, '\\');
        put(scan, scan->token.text[i]);
    }
    put(scan, '"');
}

static bool is_text(const struct token *token)
{
    return token->type == TOKEN_WORD || token->type == TOKEN_STRING;
}

static void read_text(struct scan *scan)
{
    put_gap(scan, scan->token.line);
    if (scan->token.type == TOKEN_STRING)
        put_string(scan);
    else
        put_word(scan);
    advance(scan);
}

/* Something that doesn't belong into a list, at its place or behind an element. What looks like the
 * next statement tells that the list was left open. */
static bool list_fault(struct scan *scan, int opened)
{
    struct token odd = scan->token;
    bool open = !is_text(&odd) && odd.type != TOKEN_COMMA;
    if (is_text(&odd)) {
        struct tokens ahead = scan->tokens;
        struct faults unheard = {.arena = scan->arena};
        ahead.faults = &unheard;
        enum token_type next = token_next(&ahead).type;
        open = next == TOKEN_EQUAL || next == TOKEN_APPEND || next == TOKEN_OPEN;
    }
    if (odd.type == TOKEN_EQUAL)
        return fault(scan, opened,
                     "the list opened here is not closed, or a value with = in it has no quotes");
    if (open)
        return fault(scan, opened, "the list opened here is not closed");
    return unexpected(scan, odd.type == TOKEN_COMMA ? "a value or }" : ", or }");
}

static bool read_list(struct scan *scan)
{
    int opened = scan->token.line;
    put_token(scan);
    while (scan->token.type != TOKEN_CLOSE) {
        if (!is_text(&scan->token))
            return list_fault(scan, opened);
        read_text(scan);
        if (scan->token.type == TOKEN_COMMA)
            put_token(scan);
        else if (scan->token.type != TOKEN_CLOSE)
            return list_fault(scan, opened);
    }
    put_token(scan);
    return true;
}

/* "+=" sets, too: an option stands once, so there is nothing to append to. */
static bool read_value(struct scan *scan, struct statement *statement)
{
    put_gap(scan, scan->token.line);
    put(scan, '=');
    advance(scan);
    statement->kind = scan->token.type == TOKEN_OPEN ? STATEMENT_LIST : STATEMENT_VALUE;
    if (statement->kind == STATEMENT_LIST)
        return read_list(scan);
    if (!is_text(&scan->token))
        return unexpected(scan, "a value");
    read_text(scan);
    return true;
}

static bool read_statements(struct scan *scan, struct statement **place, int depth, int opened);

/* From its { on. A section that breaks keeps what was read of it, and is closed in the text. */
static bool read_section(struct scan *scan, struct statement *statement, int depth)
{
    int opened = scan->token.line;
    statement->kind = STATEMENT_SECTION;
    if (depth == DEPTH_MAX)
        return fault(scan, opened, "sections are nested too deeply");
    put_token(scan);
    if (read_statements(scan, &statement->first, depth + 1, opened)) {
        put_token(scan);
        return true;
    }
    statement->open = true;
    put(scan, ' ');
    put(scan, '}');
    return false;
}

static bool read_titled(struct scan *scan, struct statement *statement, int depth)
{
    statement->title = token_copy(scan);
    advance(scan);
    if (scan->token.type == TOKEN_OPEN)
        return read_section(scan, statement, depth);
    if (scan->token.type == TOKEN_BROKEN)
        return false;
    faults_add(scan->tokens.faults, scan->tokens.file, statement->line,
               "unexpected %.*s behind %.40s; expected = and a value, or a section in braces",
               shown(statement->title, strlen(statement->title)), statement->title,
               statement->name);
    return false;
}

/* The pattern has no need of control characters: a backslash takes the next character as it is. */
static void unescape(struct scan *scan, char *pattern)
{
    char *to = pattern;
    for (const char *from = pattern; *from; from++) {
        if (*from == '\\' && isalnum((unsigned char)from[1]))
            fault(scan, scan->token.line,
                  "a pattern of include takes a backslash before a quote, a sign or a backslash "
                  "only");
        if (*from == '\\' && from[1])
            from++;
        *to++ = *from;
    }
    *to = '\0';
}

static bool read_include(struct scan *scan, struct statement *statement, int depth)
{
    statement->kind = STATEMENT_INCLUDE;
    advance(scan);
    if (!is_text(&scan->token))
        return unexpected(scan, "the pattern of files to include");
    statement->title = token_copy(scan);
    if (scan->token.type == TOKEN_STRING)
        unescape(scan, (char *)statement->title);
    if (!statement->title[0])
        return unexpected(scan, "the pattern of files to include");
    advance(scan);
    if (scan->token.type != TOKEN_RIGHT)
        return unexpected(scan, ") behind the pattern of include");
    advance(scan);
    if (depth > 0)
        fault(scan, statement->line, "include stands outside of all sections only");
    return true;
}

static bool is_name(const char *name)
{
    if (!isalpha((unsigned char)*name) && *name != '_')
        return false;
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")] ==
           '\0';
}

static bool read_body(struct scan *scan, struct statement *statement, int depth)
{
    switch (scan->token.type) {
    case TOKEN_EQUAL:
    case TOKEN_APPEND: return read_value(scan, statement);
    case TOKEN_OPEN: return read_section(scan, statement, depth);
    case TOKEN_WORD:
    case TOKEN_STRING: return read_titled(scan, statement, depth);
    default: return unexpected(scan, "= and a value, or a section in braces");
    }
}

/* What broke leaves nothing behind but the sections that it stands in. */
static bool read_statement(struct scan *scan, struct statement *statement, int depth)
{
    if (scan->token.type != TOKEN_WORD)
        return unexpected(scan, "an option or a section");
    scan->spoiled = false;
    statement->name = token_copy(scan);
    statement->line = scan->token.line;
    if (!is_name(statement->name))
        return unexpected(scan, "the name of an option or a section");
    int line = scan->out_line;
    statement->begin = scan->used;
    put_token(scan);
    bool sound;
    bool include = strcmp(statement->name, "include") == 0;
    if (include && scan->token.type == TOKEN_LEFT) {
        scan->used = statement->begin;
        scan->out_line = line;
        sound = read_include(scan, statement, depth);
    } else if (include && is_text(&scan->token)) {
        sound = unexpected(scan, "a pattern in brackets: include(\"PATTERN\")");
    } else {
        sound = read_body(scan, statement, depth);
    }
    statement->end = scan->used;
    statement->spoiled = scan->spoiled && statement->kind != STATEMENT_SECTION;
    return sound;
}

/* Whether the section's end, or the file's, is where it should be. */
static bool read_end(struct scan *scan, int depth, int opened)
{
    if (scan->token.type == TOKEN_BROKEN)
        return false;
    if (scan->token.type == TOKEN_END && depth > 0)
        return fault(scan, opened, "the section opened here is not closed");
    if (scan->token.type == TOKEN_CLOSE && depth == 0)
        return fault(scan, scan->token.line, "this } closes nothing");
    return true;
}

static bool read_statements(struct scan *scan, struct statement **place, int depth, int opened)
{
    while (scan->token.type != TOKEN_END && scan->token.type != TOKEN_CLOSE &&
           scan->token.type != TOKEN_BROKEN) {
        struct statement *statement = arena_take(scan->arena, sizeof *statement);
        size_t before = scan->used;
        bool sound = read_statement(scan, statement, depth);
        if (!sound && !statement->open) {
            scan->used = before;
            return false;
        }
        *place = statement;
        place = &statement->next;
        if (!sound)
            return false;
    }
    return read_end(scan, depth, opened);
}

/* Notes a line's faults. */
static size_t copy_line(char *copy, const char *line, size_t size, const char *file, int number,
                        struct faults *faults)
{
    int odd = -1;
    if (size > SYNTAX_LINE_MAX)
        faults_add(faults, file, number, "the line is too long: more than %d bytes",
                   SYNTAX_LINE_MAX);
    if (size && line[size - 1] == '\r')
        size--;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)line[i];
        bool control = (c < 0x20 && c != '\t') || c == 0x7f;
        copy[i] = !control ? line[i] : isspace(c) ? ' ' : SPOILER;
        if (control && odd < 0)
            odd = c;
    }
    if (odd >= 0)
        faults_add(faults, file, number, "the line holds a control character (\\x%02x%s)",
                   (unsigned)odd, odd ? "" : ", NUL");
    return size;
}

static size_t copy_clean(char *copy, const char *text, size_t size, const char *file,
                         struct faults *faults)
{
    size_t kept = 0;
    int number = 1;
    const char *end = text + size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((newline ? newline : end) - text);
        kept += copy_line(copy + kept, text, length, file, number++, faults);
        if (newline)
            copy[kept++] = '\n';
        text += length + 1;
    }
    return kept;
}

void syntax_read(struct syntax *screened, const char *text, size_t size, const char *file,
                 struct arena *arena, struct faults *faults)
{
    static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8, as some editors begin a file */
    char *copy = arena_take(arena, size + 1);
    if (size >= 3 && memcmp(text, mark, 3) == 0) {
        text += 3;
        size -= 3;
    }
    size_t kept = copy_clean(copy, text, size, file, faults);
    struct scan scan = {
        .tokens = {.at = copy, .end = copy + kept, .line = 1, .file = file, .faults = faults},
        .arena = arena,
        /* The longest that a character can become is five: a lone backslash, quoted. */
        .out = arena_take(arena, 5 * size + 4 * DEPTH_MAX + 1),
        .out_line = 1,
    };
    *screened = (struct syntax){.text = scan.out};
    advance(&scan);
    screened->broken = !read_statements(&scan, &screened->first, 0, 0);
    screened->size = scan.used;
    scan.out[scan.used] = '\0';
}

void syntax_drop(struct syntax *screened, struct statement *statement)
{
    statement->dropped = true;
    for (size_t i = statement->begin; i < statement->end; i++)
        if (screened->text[i] != '\n')
            screened->text[i] = ' ';
}
