#include "token.h"

#include <string.h>

static bool at_text(const struct tokens *tokens, const char *text)
{
    size_t size = strlen(text);
    return (size_t)(tokens->end - tokens->at) >= size && memcmp(tokens->at, text, size) == 0;
}

static void step(struct tokens *tokens)
{
    if (*tokens->at++ == '\n')
        tokens->line++;
}

static void skip_line(struct tokens *tokens)
{
    while (tokens->at < tokens->end && *tokens->at != '\n')
        tokens->at++;
}

/* False where the comment is not closed. */
static bool skip_comment(struct tokens *tokens)
{
    int opened = tokens->line;
    for (tokens->at += 2; tokens->at < tokens->end; step(tokens)) {
        if (at_text(tokens, "*/")) {
            tokens->at += 2;
            return true;
        }
    }
    faults_add(tokens->faults, tokens->file, opened, "the comment opened here is not closed");
    return false;
}

static bool skip_blanks(struct tokens *tokens)
{
    while (tokens->at < tokens->end) {
        if (strchr(" \t\n\x01", *tokens->at))
            step(tokens);
        else if (*tokens->at == '#' || at_text(tokens, "//"))
            skip_line(tokens);
        else if (!at_text(tokens, "/*"))
            return true;
        else if (!skip_comment(tokens))
            return false;
    }
    return true;
}

/* What may follow a string without a blank between. Anything else tells of a forgotten quote, some
 * string before: without this the fault would be told lines later, or at the end of the file. */
static bool string_may_end(const struct tokens *tokens)
{
    return tokens->at == tokens->end || strchr(" \t\n\x01{}(),=#/", *tokens->at);
}

static bool take_string(struct tokens *tokens, struct token *token)
{
    char quote = *tokens->at;
    step(tokens);
    while (tokens->at < tokens->end && *tokens->at != quote) {
        if (*tokens->at == '\\' && tokens->at + 1 < tokens->end)
            step(tokens);
        step(tokens);
    }
    if (tokens->at == tokens->end) {
        faults_add(tokens->faults, tokens->file, token->line,
                   "the string opened here is not closed");
        return false;
    }
    step(tokens);
    token->type = TOKEN_STRING;
    if (string_may_end(tokens))
        return true;
    if (tokens->line > token->line)
        faults_add(
            tokens->faults, tokens->file, token->line,
            "the string opened here is not closed in its line, and the quote that ends it in "
            "line %d looks like the beginning of another",
            tokens->line);
    else
        faults_add(tokens->faults, tokens->file, token->line,
                   "a blank or a comma is missing behind a string");
    return false;
}

/* "+" is part of a word, "+=" never; so is "/", but not where a comment opens. */
static bool word_goes_on(const struct tokens *tokens)
{
    return tokens->at < tokens->end && !strchr(" \t\n\"'{}()=,#", *tokens->at) &&
           !at_text(tokens, "+=") && !at_text(tokens, "/*");
}

static void take_word(struct tokens *tokens, struct token *token)
{
    token->type = TOKEN_WORD;
    while (word_goes_on(tokens))
        tokens->at++;
}

static void take_sign(struct tokens *tokens, struct token *token)
{
    static const char signs[] = "{}()=,";
    static const enum token_type types[] = {TOKEN_OPEN,  TOKEN_CLOSE, TOKEN_LEFT,
                                            TOKEN_RIGHT, TOKEN_EQUAL, TOKEN_COMMA};
    if (at_text(tokens, "+=")) {
        token->type = TOKEN_APPEND;
        tokens->at += 2;
        return;
    }
    token->type = types[strchr(signs, *tokens->at) - signs];
    tokens->at++;
}

struct token token_next(struct tokens *tokens)
{
    bool sound = skip_blanks(tokens);
    struct token token = {.type = TOKEN_END, .line = tokens->line, .text = tokens->at};
    if (sound && tokens->at == tokens->end)
        return token;
    if (!sound)
        token.type = TOKEN_BROKEN;
    else if (word_goes_on(tokens))
        take_word(tokens, &token);
    else if (*tokens->at != '"' && *tokens->at != '\'')
        take_sign(tokens, &token);
    else if (!take_string(tokens, &token))
        token.type = TOKEN_BROKEN;
    token.size = (size_t)(tokens->at - token.text);
    return token;
}
