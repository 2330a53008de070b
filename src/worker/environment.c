#include "environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

enum { BASE_VARIABLES = 6 };

static bool same_name(const char *variable, const char *other)
{
    size_t length = strcspn(variable, "=");
    return strncmp(variable, other, length) == 0 && other[length] == '=';
}

/* Puts a variable where the list has none of its name. */
static int put(char **list, int count, char *variable)
{
    if (!variable)
        return count;
    for (int i = 0; i < count; i++)
        if (same_name(list[i], variable)) {
            free(variable);
            return count;
        }
    list[count] = variable;
    return count + 1;
}

static char *assign(const char *name, const char *value)
{
    char *variable = NULL;
    if (value && asprintf(&variable, "%s=%s", name, value) < 0)
        return NULL;
    return variable;
}

char **environment_make(const struct pool_config *pool)
{
    const struct identity *who = &pool->identity;
    const char *path = getenv("PATH");
    int count = 0;
    char **list = calloc((size_t)pool->environment.count + BASE_VARIABLES + 1, sizeof *list);
    if (!list)
        return NULL;
    for (int i = 0; i < pool->environment.count; i++)
        count = put(list, count, strdup(pool->environment.at[i]));
    count = put(list, count, assign("PATH", path ? path : default_path));
    count = put(list, count, assign("TZ", getenv("TZ")));
    count = put(list, count, assign("LANG", getenv("LANG")));
    count = put(list, count, assign("HOME", who->home));
    count = put(list, count, assign("USER", who->user));
    put(list, count, assign("LOGNAME", who->user));
    return list;
}
