#include "owners.h"

#include "identity.h"

static const char user_default[] = "preforkd";

static void fault_user(const struct rule_context *context, const struct pool_config *pool,
                       const char *option, const char *word)
{
    rule_context_fault(context, pool, option, "%s: there is no user \"%.60s\"", option, word);
}

static void fault_group(const struct rule_context *context, const struct pool_config *pool,
                        const char *option, const char *word)
{
    rule_context_fault(context, pool, option, "%s: there is no group \"%.60s\"", option, word);
}

/* --- root: workers become someone ---------------------------------------------------------- */

/* Whether the file sets it, for the pool or for all: to something wrong, where the value is
 * missing. */
static bool is_set(const struct rule_context *context, const struct pool_config *pool,
                   const char *option)
{
    return option_is_set(pool_rows, &pool->origin, option) ||
           option_is_set(global_rows, &context->config->origin, option);
}

/* The user of the default is missing for all pools that have none of their own: told at the first. */
static bool is_first_without_user(const struct rule_context *context,
                                  const struct pool_config *pool)
{
    int first = 0;
    while (context->config->pools[first] != pool &&
           is_set(context, context->config->pools[first], "user"))
        first++;
    return context->config->pools[first] == pool;
}

/* The user of a pool, its own or the global one. False: a fault is noted. */
static bool find_user(const struct rule_context *context, const struct pool_config *pool,
                      struct identity *found)
{
    const char *global = context->config->user;
    const char *word = pool->user ? pool->user : global ? global : user_default;
    if (identity_user(found, word, context->arena))
        return true;
    if (pool->user)
        fault_user(context, pool, "user", word);
    else if (context->whole && !is_set(context, pool, "user") &&
             is_first_without_user(context, pool))
        rule_context_fault(context, pool, "user",
                           "there is no user \"%s\", the default; create it, or "
                           "set the option \"user\"",
                           word);
    return false; /* the one that is set for all pools: own_globals tells it, once */
}

/* By default a user's own one. The global group goes with the global user. */
static bool find_group(const struct rule_context *context, const struct pool_config *pool,
                       struct identity *found)
{
    const char *word = pool->group ? pool->group : pool->user ? NULL : context->config->group;
    if (word && identity_group(found, word, context->arena))
        return true;
    if (!word && found->gid != IDENTITY_NO_GROUP)
        return true;
    if (!word)
        rule_context_fault(context, pool, "user",
                           "user %s has no entry that says its group: set the option \"group\" too",
                           found->user);
    else if (pool->group)
        fault_group(context, pool, "group", word);
    return false;
}

static bool become(const struct rule_context *context, struct pool_config *pool)
{
    struct identity found = {0};
    if (!find_user(context, pool, &found) || !find_group(context, pool, &found))
        return false;
    identity_complete(&found, context->arena);
    pool->identity = found;
    return true;
}

/* The global options themselves, whether a pool needs them or not; their defaults are filled in
 * where the system has them. */
static void own_globals(const struct rule_context *context)
{
    struct config *config = context->config;
    struct identity found = {0};
    bool set = config->user != NULL;
    const char *word = set ? config->user : user_default;
    if (identity_user(&found, word, context->arena))
        config->user = found.user;
    else if (set)
        fault_user(context, NULL, "user", word);
    if (config->group && !identity_group(&found, config->group, context->arena))
        fault_group(context, NULL, "group", config->group);
    if (!config->group && found.user && found.gid != IDENTITY_NO_GROUP)
        identity_complete(&found, context->arena);
    if (found.group)
        config->group = found.group;
}

/* --- without root: all stays who started it ------------------------------------------------- */

static void stay_user(const struct rule_context *context, const struct pool_config *pool,
                      const char *option, const char *word)
{
    struct identity found = {0};
    if (!word)
        return;
    if (!identity_user(&found, word, context->arena))
        fault_user(context, pool, option, word);
    else if (found.uid != context->self.uid)
        rule_context_fault(context, pool, option, "%s: without root it stays %s, and cannot be %s",
                           option, context->self.user, found.user);
}

static bool is_member(const struct identity *self, gid_t gid)
{
    for (int i = 0; i < self->group_count; i++)
        if (self->groups[i] == gid)
            return true;
    return self->gid == gid;
}

/* A process stays in its group, but may give a file to any group that it is in. */
static void stay_group(const struct rule_context *context, const struct pool_config *pool,
                       const char *option, const char *word, bool member)
{
    struct identity found = {0};
    if (!word)
        return;
    if (!identity_group(&found, word, context->arena))
        fault_group(context, pool, option, word);
    else if (member ? !is_member(&context->self, found.gid) : found.gid != context->self.gid)
        rule_context_fault(context, pool, option, "%s: without root it stays %s, and cannot be %s",
                           option, context->self.group, found.group);
}

enum { ITSELF = false, MEMBER = true };

static void stay(const struct rule_context *context, struct pool_config *pool)
{
    stay_user(context, pool, "user", pool->user);
    stay_group(context, pool, "group", pool->group, ITSELF);
    stay_user(context, pool, "socket_user", pool->socket_user);
    stay_group(context, pool, "socket_group", pool->socket_group, MEMBER);
    pool->identity = context->self;
}

static void stay_globals(const struct rule_context *context)
{
    struct config *config = context->config;
    stay_user(context, NULL, "user", config->user);
    stay_group(context, NULL, "group", config->group, ITSELF);
    stay_group(context, NULL, "control_group", config->control_group, MEMBER);
    config->user = context->self.user;
    config->group = context->self.group;
}

/* --- sockets ------------------------------------------------------------------------------- */

static void own_sockets(const struct rule_context *context, struct pool_config *pool)
{
    struct identity user = pool->identity, group = pool->identity;
    if (pool->socket_user && !identity_user(&user, pool->socket_user, context->arena))
        fault_user(context, pool, "socket_user", pool->socket_user);
    if (pool->socket_group && !identity_group(&group, pool->socket_group, context->arena))
        fault_group(context, pool, "socket_group", pool->socket_group);
    pool->socket_uid = user.uid;
    pool->socket_gid = group.gid;
    pool->socket_user = user.user;
    pool->socket_group = group.group;
}

static void own_pool(const struct rule_context *context, struct pool_config *pool)
{
    if (!context->root)
        stay(context, pool);
    else if (!become(context, pool))
        pool->identity = (struct identity){0};
    own_sockets(context, pool);
    pool->user = pool->identity.user;
    pool->group = pool->identity.group;
}

void owners_apply(const struct rule_context *context)
{
    struct config *config = context->config;
    struct identity found = {0};
    for (int i = 0; i < config->pool_count; i++)
        own_pool(context, rule_context_pool(context, i));
    if (context->root)
        own_globals(context);
    else
        stay_globals(context);
    if (config->control_group && !identity_group(&found, config->control_group, context->arena))
        fault_group(context, NULL, "control_group", config->control_group);
    config->control_gid = found.group ? found.gid : IDENTITY_NO_GROUP;
}
