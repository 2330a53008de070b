#include "syntax.h"

#include "foreign.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Nested sections. Only a pool holds sections, so this just bounds the recursion. */
enum { DEPTH_MAX = 8 };

/* The type of a sign, { } ( ) , or =, is its character. += counts as =. */
enum {
    TOKEN_END,    /* of the file */
    TOKEN_BROKEN, /* a fault is noted, and nothing behind it can be trusted */
    TOKEN_WORD,   /* without quotes */
    TOKEN_STRING, /* in quotes */
};

struct token {
    int type;
    int line;         /* the token begins here */
    const char *text; /* with its quotes, without a NUL */
    size_t size;
};

struct scan {
    const char *at, *end;
    const char *line_begin;
    int line;
    bool line_spoiled; /* the fault of a control character in this line is noted */
    const char *file;
    struct arena *arena;
    struct faults *faults;
    struct token token; /* the next token */
    bool spoiled;       /* the current statement */
};

/* Notes a fault, unless the token is broken: that has its fault already. Always false. */
#define FAULT(scan, line, ...)                                                                     \
    ((scan)->token.type != TOKEN_BROKEN                                                            \
         ? faults_add((scan)->faults, (scan)->file, line, __VA_ARGS__)                             \
         : (void)0,                                                                                \
     false)

/* --- characters ---------------------------------------------------------------------------- */

static bool is_among(char c, const char *set)
{
    return c && strchr(set, c);
}

/* A control character is a fault. Between words it counts as a blank, in a word or a string it is
 * dropped. */
static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t' && c != '\n') || c == 0x7f;
}

static bool is_line_end(const char *at, const char *end)
{
    return *at == '\r' && (at + 1 == end || at[1] == '\n');
}

static bool is_blank(char c)
{
    return is_among(c, " \t\n") || is_control(c);
}

static bool at_text(const struct scan *scan, const char *text)
{
    size_t size = strlen(text);
    return (size_t)(scan->end - scan->at) >= size && memcmp(scan->at, text, size) == 0;
}

/* Passes one character. Every character of the file passes here once, even behind broken syntax, so
 * the faults of characters are noted for the whole file. */
static void step(struct scan *scan)
{
    const char *c = scan->at++;
    if (*c == '\n') {
        scan->line++;
        scan->line_begin = scan->at;
        scan->line_spoiled = false;
        return;
    }
    if (scan->at - scan->line_begin == SYNTAX_LINE_MAX + 1)
        faults_add(scan->faults, scan->file, scan->line, "the line is too long: more than %d bytes",
                   SYNTAX_LINE_MAX);
    if (is_control(*c) && !is_line_end(c, scan->end) && !scan->line_spoiled) {
        faults_add(scan->faults, scan->file, scan->line,
                   "the line holds a control character (\\x%02x%s)", (unsigned char)*c,
                   *c ? "" : ", NUL");
        scan->line_spoiled = true;
    }
}

/* --- tokens -------------------------------------------------------------------------------- */

static bool skip_comment(struct scan *scan)
{
    int opened = scan->line;
    for (step(scan), step(scan); scan->at < scan->end; step(scan)) {
        if (at_text(scan, "*/")) {
            step(scan);
            step(scan);
            return true;
        }
    }
    return FAULT(scan, opened, "the comment opened here is not closed");
}

/* Skips blanks and comments. False if a comment is not closed. */
static bool skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end) {
        if (is_blank(*scan->at))
            step(scan);
        else if (*scan->at == '#' || at_text(scan, "//"))
            while (scan->at < scan->end && *scan->at != '\n')
                step(scan);
        else if (!at_text(scan, "/*"))
            return true;
        else if (!skip_comment(scan))
            return false;
    }
    return true;
}

/* Few characters may follow a string directly. Any other means that an earlier string lacks its
 * closing quote: without this check the fault would stand lines later, or at the end of the
 * file. */
static bool take_string(struct scan *scan, int opened)
{
    char quote = *scan->at;
    step(scan);
    while (scan->at < scan->end && *scan->at != quote) {
        if (*scan->at == '\\' && scan->at + 1 < scan->end)
            step(scan);
        step(scan);
    }
    if (scan->at == scan->end)
        return FAULT(scan, opened, "the string opened here is not closed");
    step(scan);
    if (scan->at == scan->end || is_blank(*scan->at) || is_among(*scan->at, "{}(),=#/"))
        return true;
    if (scan->line == opened)
        return FAULT(scan, opened, "a blank or a comma is missing behind a string");
    return FAULT(scan, opened,
                 "the string opened here is not closed in its line, and the quote that ends it in "
                 "line %d looks like the beginning of another",
                 scan->line);
}

/* "+" may be part of a word, but not "+="; so may "/", unless it opens a comment. */
static bool word_goes_on(const struct scan *scan)
{
    return scan->at < scan->end && !is_among(*scan->at, " \t\n\r\f\v\"'{}()=,#") &&
           !at_text(scan, "+=") && !at_text(scan, "/*");
}

static int take_token(struct scan *scan)
{
    int line = scan->line;
    char c = *scan->at;
    if (c == '"' || c == '\'')
        return take_string(scan, line) ? TOKEN_STRING : TOKEN_BROKEN;
    if (is_among(c, "{}(),=")) {
        step(scan);
        return c;
    }
    if (at_text(scan, "+=")) {
        step(scan);
        step(scan);
        return '=';
    }
    while (word_goes_on(scan))
        step(scan);
    return TOKEN_WORD;
}

static void advance(struct scan *scan)
{
    bool sound = skip_blanks(scan);
    struct token token = {.type = TOKEN_END, .line = scan->line, .text = scan->at};
    if (!sound)
        token.type = TOKEN_BROKEN;
    else if (scan->at < scan->end)
        token.type = take_token(scan);
    token.size = (size_t)(scan->at - token.text);
    scan->token = token;
}

/* How much of a text a fault shows: at most 40 bytes of the first line. */
static int shown(const char *text, size_t size)
{
    int length = 0;
    while (length < 40 && (size_t)length < size && text[length] != '\n' &&
           !is_control(text[length]))
        length++;
    return length;
}

/* Always false. */
static bool unexpected(struct scan *scan, const char *expected)
{
    const struct token *token = &scan->token;
    const char *quote = token->type == TOKEN_STRING ? "" : "\"";
    if (token->type == TOKEN_END)
        return FAULT(scan, token->line, "the file ends where %s is expected", expected);
    return FAULT(scan, token->line, "unexpected %s%.*s%s; expected %s", quote,
                 shown(token->text, token->size), token->text, quote, expected);
}

static bool is_text(const struct token *token)
{
    return token->type == TOKEN_WORD || token->type == TOKEN_STRING;
}

/* A value, surely: a string, or a word that begins like a number or a path. */
static bool is_no_name(const struct token *token)
{
    return token->type == TOKEN_STRING ||
           (token->type == TOKEN_WORD && is_among(*token->text, "0123456789-+*/.:"));
}

/* A copy of a word, or of a string without its quotes. */
static char *take_text(struct scan *scan)
{
    const struct token *token = &scan->token;
    size_t quote = token->type == TOKEN_STRING ? 1 : 0;
    char *copy = arena_take(scan->arena, token->size + 1), *to = copy;
    for (const char *c = token->text + quote; c < token->text + token->size - quote; c++) {
        if (!is_control(*c))
            *to++ = *c;
        else
            scan->spoiled |= !is_line_end(c, scan->end);
    }
    return copy;
}

/* --- values -------------------------------------------------------------------------------- */

/* The byte that an escape in a "..." string stands for (1 for any but NUL), or -1 if libconfuse
 * can't read it. `escape` points behind the backslash; its length goes into `size`. The string's
 * closing quote ends all digits. */
static long escape_value(const char *escape, size_t *size)
{
    char digits[3] = "";
    *size = 1;
    if (isdigit((unsigned char)*escape)) {
        char *end;
        long value = strtol(escape, &end, 8);
        *size = strspn(escape, "0123456789");
        return *size <= 3 && end == escape + *size && value < 256 ? value : -1;
    }
    if (*escape != 'x')
        return !isalpha((unsigned char)*escape) || is_among(*escape, "abefnrtv") ? 1 : -1;
    for (; *size <= 2 && isxdigit((unsigned char)escape[*size]); ++*size)
        digits[*size - 1] = escape[*size];
    return digits[0] ? strtol(digits, NULL, 16) : -1;
}

/* Notes a fault if the escape is unknown or stands for a NUL. */
static void check_escape(struct scan *scan, int line, const char *escape, size_t *size)
{
    long value = escape_value(escape, size);
    if (value > 0)
        return;
    scan->spoiled = true;
    (void)FAULT(scan, line,
                value == 0 ? "\\%.*s is a NUL, which is not allowed in a string"
                           : "unknown escape \\%.*s; write \\\\ for a backslash",
                (int)*size, escape);
}

/* The token, quoted for libconfuse. A word is put in quotes, because libconfuse skips an asterisk
 * outside of quotes. A $ gets a backslash except in '...', because libconfuse expands ${NAME}. */
static const char *quoted(struct scan *scan)
{
    const struct token *token = &scan->token;
    bool word = token->type == TOKEN_WORD, single = token->text[0] == '\'';
    char *copy = arena_take(scan->arena, 2 * token->size + 3), *to = copy;
    int line = token->line;
    if (word)
        *to++ = '"';
    for (size_t i = 0; i < token->size; i++) {
        const char *c = token->text + i;
        size_t escaped = 0;
        line += *c == '\n';
        if (is_control(*c)) {
            scan->spoiled |= !is_line_end(c, scan->end);
            continue;
        }
        if (!single && (*c == '$' || (word && *c == '\\')))
            *to++ = '\\';
        else if (!single && *c == '\\' && !is_control(c[1])) {
            check_escape(scan, line, c + 1, &escaped);
            line += c[1] == '\n';
        }
        to = mempcpy(to, c, 1 + escaped);
        i += escaped;
    }
    if (word)
        *to = '"';
    return copy;
}

static struct value **read_text(struct scan *scan, struct value **place)
{
    *place = arena_take(scan->arena, sizeof **place);
    (*place)->text = quoted(scan);
    advance(scan);
    return &(*place)->next;
}

/* Notes a token that doesn't belong in a list. If it looks like the beginning of the next
 * statement, the list was left open. */
static bool list_fault(struct scan *scan, const struct statement *statement, int opened)
{
    int type = scan->token.type;
    bool open = !is_text(&scan->token) && type != ',';
    if (type == '=' && statement->values && !statement->values->next)
        return FAULT(scan, opened,
                     "the list opened here is not closed, or a value with = in it has no quotes; "
                     "if %.40s is a section, write %.40s { ... }, without =",
                     statement->name, statement->name);
    if (type == '=')
        return FAULT(scan, opened,
                     "the list opened here is not closed, or a value with = in it has no quotes");
    if (is_text(&scan->token)) {
        struct faults ignored = {.arena = scan->arena};
        struct scan ahead = *scan;
        ahead.faults = &ignored;
        advance(&ahead);
        open = ahead.token.type == '=' || ahead.token.type == '{';
    }
    if (open)
        return FAULT(scan, opened, "the list opened here is not closed");
    return unexpected(scan, type == ',' ? "a value or }" : ", or }");
}

/* Notes a value without quotes that is written as in another language. False if what follows can't
 * be trusted. */
static bool check_word(struct scan *scan, const struct statement *statement)
{
    static const char *const marks[] = {"\xe2\x80\x9c", "\xe2\x80\x9d", "\xe2\x80\x98",
                                        "\xe2\x80\x99", "\xc2\xab"};
    const struct token *token = &scan->token;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (token->size >= strlen(marks[i]) && memcmp(token->text, marks[i], strlen(marks[i])) == 0)
            return FAULT(scan, token->line, "a string stands in \" or ', not in %s", marks[i]);
    if (token->text[0] == '[')
        return FAULT(scan, token->line, "a list stands in braces: %.40s = { ... }",
                     statement->name);
    if (token->text[token->size - 1] == ';') {
        (void)FAULT(scan, token->line, "no semicolon belongs behind a value: %.40s = %.*s",
                    statement->name, shown(token->text, token->size - 1), token->text);
        scan->spoiled = true;
    }
    return true;
}

/* Always false. */
static bool no_value(struct scan *scan, const struct statement *statement)
{
    return FAULT(scan, statement->line, "%.40s = has no value; write %.40s = VALUE",
                 statement->name, statement->name);
}

/* Reads a value that is no list. A word in a line below, with a sign or a string behind it, is no
 * value: it begins the next statement. */
static bool read_single(struct scan *scan, struct statement *statement)
{
    const struct token value = scan->token;
    const char *name = statement->name;
    if (value.type == TOKEN_END || value.type == '}')
        return no_value(scan, statement);
    if (!is_text(&value))
        return unexpected(scan, "a value");
    if (value.type == TOKEN_WORD && !check_word(scan, statement))
        return false;
    read_text(scan, &statement->values);
    int next = scan->token.type;
    if (value.type == TOKEN_WORD && value.line > statement->line &&
        (next == '{' || next == '=' || next == '(' || next == TOKEN_STRING))
        return no_value(scan, statement);
    if (scan->token.line == value.line && is_no_name(&scan->token))
        return FAULT(scan, value.line,
                     "%.40s = %.*s is followed by a second value, %.*s; only a list in braces has "
                     "several",
                     name, shown(value.text, value.size), value.text,
                     shown(scan->token.text, scan->token.size), scan->token.text);
    if (next == '=' && value.type == TOKEN_WORD && scan->token.line == value.line)
        return FAULT(scan, value.line, "a value with = in it stands in quotes: %.40s = \"...\"",
                     name);
    if (next == ',')
        return FAULT(scan, value.line,
                     "a comma stands only between the values of a list: %.40s = { %.*s, ... }",
                     name, shown(value.text, value.size), value.text);
    if (next == '{')
        return FAULT(scan, statement->line, "%.40s is a section: %s { ... }, without =", name,
                     strcmp(name, "pool") == 0 ? "pool \"NAME\"" : name);
    return true;
}

/* "+=" sets as "=" does: an option may stand only once, so it has nothing to append to. */
static bool read_value(struct scan *scan, struct statement *statement)
{
    struct value **place = &statement->values;
    advance(scan);
    if (scan->token.type != '{')
        return read_single(scan, statement);
    int opened = scan->token.line;
    statement->kind = STATEMENT_LIST;
    advance(scan);
    while (scan->token.type != '}') {
        if (!is_text(&scan->token))
            return list_fault(scan, statement, opened);
        place = read_text(scan, place);
        if (scan->token.type == ',')
            advance(scan);
        else if (scan->token.type != '}')
            return list_fault(scan, statement, opened);
    }
    advance(scan);
    return true;
}

/* --- statements ---------------------------------------------------------------------------- */

static bool read_statements(struct scan *scan, struct statement **place, int depth, int opened);

/* Reads a section from its { on. If it breaks, it keeps the statements read so far. */
static bool read_section(struct scan *scan, struct statement *statement, int depth)
{
    int opened = scan->token.line;
    statement->kind = STATEMENT_SECTION;
    if (depth == DEPTH_MAX)
        return FAULT(scan, opened, "sections are nested too deeply");
    advance(scan);
    if (strcmp(statement->name, "pool") != 0 && !statement->title && is_no_name(&scan->token))
        return FAULT(scan, statement->line,
                     "a section holds options, not %.*s; if %.40s is an option, write %.40s = "
                     "VALUE or %.40s = { ... }",
                     shown(scan->token.text, scan->token.size), scan->token.text, statement->name,
                     statement->name, statement->name);
    statement->open = !read_statements(scan, &statement->first, depth + 1, opened);
    if (!statement->open)
        advance(scan);
    return !statement->open;
}

/* The pattern of an include. It needs no control characters, so in a string a backslash just quotes
 * the next character. */
static char *take_pattern(struct scan *scan)
{
    bool string = scan->token.type == TOKEN_STRING;
    char *pattern = is_text(&scan->token) ? take_text(scan) : arena_text(scan->arena, ""),
         *to = pattern;
    for (const char *from = pattern; string && *from; *to++ = *from++) {
        if (*from == '\\' && isalnum((unsigned char)from[1]))
            (void)FAULT(
                scan, scan->token.line,
                "a pattern of include takes a backslash before a quote, a sign or a backslash "
                "only");
        if (*from == '\\' && from[1])
            from++;
    }
    if (string)
        *to = '\0';
    return pattern;
}

static bool read_include(struct scan *scan, struct statement *statement, int depth)
{
    statement->kind = STATEMENT_INCLUDE;
    advance(scan);
    statement->title = take_pattern(scan);
    if (!statement->title[0])
        return unexpected(scan, "the pattern of files to include");
    advance(scan);
    if (scan->token.type != ')')
        return unexpected(scan, ") behind the pattern of include");
    advance(scan);
    if (depth > 0)
        (void)FAULT(scan, statement->line, "include is allowed only outside of sections");
    return true;
}

/* Whether the statement ends behind its name. Only a pool's name may stand in a line below. */
static bool begins_next(const struct scan *scan, const struct statement *statement)
{
    const struct token *token = &scan->token;
    bool below = token->line > statement->line && token->type != '{';
    return token->type == TOKEN_END || token->type == '}' ||
           (below && (strcmp(statement->name, "pool") != 0 || !is_text(token)));
}

static bool read_body(struct scan *scan, struct statement *statement, int depth)
{
    bool include = strcmp(statement->name, "include") == 0;
    if (scan->token.type == '=')
        return read_value(scan, statement);
    if (include && scan->token.type == '(')
        return read_include(scan, statement, depth);
    if (include && is_text(&scan->token) && scan->token.line == statement->line)
        return unexpected(scan, "a pattern in brackets: include(\"PATTERN\")");
    if (include && (scan->token.type == TOKEN_END || scan->token.type == '{' ||
                    scan->token.line > statement->line))
        return FAULT(scan, statement->line, "include is written include(\"PATTERN\")");
    if (begins_next(scan, statement))
        return FAULT(scan, statement->line,
                     "%.40s is not complete; write %.40s = VALUE, or a section in braces",
                     statement->name, statement->name);
    if (is_text(&scan->token)) {
        statement->title = take_text(scan);
        advance(scan);
    }
    if (scan->token.type == '{')
        return read_section(scan, statement, depth);
    if (!statement->title)
        return unexpected(scan, "= and a value, or a section in braces");
    if (strcmp(statement->name, "pool") == 0)
        return unexpected(scan, "{ behind the name of the pool: pool \"NAME\" { ... }");
    return FAULT(scan, statement->line, "unexpected %.*s behind %.40s; expected %s%s",
                 shown(statement->title, strlen(statement->title)), statement->title,
                 statement->name, "= and a value, or a section in braces",
                 foreign_explain(statement->name, statement->title));
}

/* Reads a statement. The caller drops one that breaks, unless it is a section. */
static bool read_statement(struct scan *scan, struct statement *statement, int depth)
{
    if (scan->token.type != TOKEN_WORD)
        return unexpected(scan, "an option or a section");
    scan->spoiled = false;
    statement->line = scan->token.line;
    const char *name = statement->name = take_text(scan);
    if ((!isalpha((unsigned char)*name) && *name != '_') ||
        name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")])
        return unexpected(scan, arena_format(scan->arena, "the name of an option or a section%s",
                                             foreign_explain(name, NULL)));
    advance(scan);
    bool sound = read_body(scan, statement, depth);
    statement->spoiled = scan->spoiled && statement->kind != STATEMENT_SECTION;
    return sound;
}

/* Reads up to the end of the file, or of the section that line `opened` opened. */
static bool read_statements(struct scan *scan, struct statement **place, int depth, int opened)
{
    while (scan->token.type != TOKEN_END && scan->token.type != '}') {
        struct statement *statement = arena_take(scan->arena, sizeof *statement);
        bool sound = read_statement(scan, statement, depth);
        if (sound || statement->open)
            *place = statement;
        if (!sound)
            return false;
        place = &statement->next;
    }
    if (scan->token.type == TOKEN_END && depth > 0)
        return FAULT(scan, opened, "the section opened here is not closed");
    if (scan->token.type == '}' && depth == 0)
        return FAULT(scan, scan->token.line, "this } closes nothing");
    return true;
}

void syntax_read(struct syntax *syntax, const char *text, size_t size, const char *file,
                 struct arena *arena, struct faults *faults)
{
    static const char utf8_mark[] = "\xef\xbb\xbf"; /* some editors begin a file with it */
    size_t skip = size >= 3 && memcmp(text, utf8_mark, 3) == 0 ? 3 : 0;
    struct scan scan = {
        .at = text + skip,
        .end = text + size,
        .line_begin = text + skip,
        .line = 1,
        .file = file,
        .arena = arena,
        .faults = faults,
    };
    *syntax = (struct syntax){0};
    advance(&scan);
    syntax->broken = !read_statements(&scan, &syntax->first, 0, 0);
    while (scan.at < scan.end)
        step(&scan);
}

void syntax_print(const struct statement *statement, FILE *out)
{
    bool list = statement->kind == STATEMENT_LIST;
    fprintf(out, "%s =%s", statement->name, list ? " {" : "");
    for (const struct value *value = statement->values; value; value = value->next)
        fprintf(out, " %s%s", value->text, value->next ? "," : "");
    fputs(list ? " }\n" : "\n", out);
}
