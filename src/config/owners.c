#include "owners.h"

#include "identity.h"

static const char user_default[] = "preforkd";

static void fault_user(const struct ruling *ruling, const struct pool_config *pool,
                       const char *option, const char *word)
{
    ruling_fault(ruling, pool, option, "%s: there is no user \"%.60s\"", option, word);
}

static void fault_group(const struct ruling *ruling, const struct pool_config *pool,
                        const char *option, const char *word)
{
    ruling_fault(ruling, pool, option, "%s: there is no group \"%.60s\"", option, word);
}

/* --- root: workers become someone ---------------------------------------------------------- */

/* Whether the file sets it, for the pool or for all: to something wrong, where the value is
 * missing. */
static bool is_set(const struct ruling *ruling, const struct pool_config *pool, const char *option)
{
    return option_is_set(pool_rows, &pool->origin, option) ||
           option_is_set(global_rows, &ruling->config->origin, option);
}

/* The user of the default is missing for all pools that have none of their own: told at the first. */
static bool is_first_without_user(const struct ruling *ruling, const struct pool_config *pool)
{
    int first = 0;
    while (ruling->config->pools[first] != pool &&
           is_set(ruling, ruling->config->pools[first], "user"))
        first++;
    return ruling->config->pools[first] == pool;
}

/* The user of a pool, its own or the global one. False: a fault is noted. */
static bool find_user(const struct ruling *ruling, const struct pool_config *pool,
                      struct identity *found)
{
    const char *global = ruling->config->user;
    const char *word = pool->user ? pool->user : global ? global : user_default;
    if (identity_user(found, word, ruling->arena))
        return true;
    if (pool->user)
        fault_user(ruling, pool, "user", word);
    else if (ruling->whole && !is_set(ruling, pool, "user") && is_first_without_user(ruling, pool))
        ruling_fault(ruling, pool, "user",
                     "there is no user \"%s\", the default; create it, or "
                     "set the option \"user\"",
                     word);
    return false; /* the one that is set for all pools: own_globals tells it, once */
}

/* By default a user's own one. The global group goes with the global user. */
static bool find_group(const struct ruling *ruling, const struct pool_config *pool,
                       struct identity *found)
{
    const char *word = pool->group ? pool->group : pool->user ? NULL : ruling->config->group;
    if (word && identity_group(found, word, ruling->arena))
        return true;
    if (!word && found->gid != IDENTITY_NO_GROUP)
        return true;
    if (!word)
        ruling_fault(ruling, pool, "user",
                     "user %s has no entry that says its group: set the option \"group\" too",
                     found->user);
    else if (pool->group)
        fault_group(ruling, pool, "group", word);
    return false;
}

static bool become(const struct ruling *ruling, struct pool_config *pool)
{
    struct identity found = {0};
    if (!find_user(ruling, pool, &found) || !find_group(ruling, pool, &found))
        return false;
    identity_complete(&found, ruling->arena);
    pool->identity = found;
    return true;
}

/* The global options themselves, whether a pool needs them or not; their defaults are filled in
 * where the system has them. */
static void own_globals(const struct ruling *ruling)
{
    struct config *config = ruling->config;
    struct identity found = {0};
    bool set = config->user != NULL;
    const char *word = set ? config->user : user_default;
    if (identity_user(&found, word, ruling->arena))
        config->user = found.user;
    else if (set)
        fault_user(ruling, NULL, "user", word);
    if (config->group && !identity_group(&found, config->group, ruling->arena))
        fault_group(ruling, NULL, "group", config->group);
    if (!config->group && found.user && found.gid != IDENTITY_NO_GROUP)
        identity_complete(&found, ruling->arena);
    if (found.group)
        config->group = found.group;
}

/* --- without root: all stays who started it ------------------------------------------------- */

static void stay_user(const struct ruling *ruling, const struct pool_config *pool,
                      const char *option, const char *word)
{
    struct identity found = {0};
    if (!word)
        return;
    if (!identity_user(&found, word, ruling->arena))
        fault_user(ruling, pool, option, word);
    else if (found.uid != ruling->self.uid)
        ruling_fault(ruling, pool, option, "%s: without root it stays %s, and cannot be %s", option,
                     ruling->self.user, found.user);
}

static bool is_member(const struct identity *self, gid_t gid)
{
    for (int i = 0; i < self->group_count; i++)
        if (self->groups[i] == gid)
            return true;
    return self->gid == gid;
}

/* A process stays in its group, but may give a file to any group that it is in. */
static void stay_group(const struct ruling *ruling, const struct pool_config *pool,
                       const char *option, const char *word, bool member)
{
    struct identity found = {0};
    if (!word)
        return;
    if (!identity_group(&found, word, ruling->arena))
        fault_group(ruling, pool, option, word);
    else if (member ? !is_member(&ruling->self, found.gid) : found.gid != ruling->self.gid)
        ruling_fault(ruling, pool, option, "%s: without root it stays %s, and cannot be %s", option,
                     ruling->self.group, found.group);
}

enum { ITSELF = false, MEMBER = true };

static void stay(const struct ruling *ruling, struct pool_config *pool)
{
    stay_user(ruling, pool, "user", pool->user);
    stay_group(ruling, pool, "group", pool->group, ITSELF);
    stay_user(ruling, pool, "socket_user", pool->socket_user);
    stay_group(ruling, pool, "socket_group", pool->socket_group, MEMBER);
    pool->identity = ruling->self;
}

static void stay_globals(const struct ruling *ruling)
{
    struct config *config = ruling->config;
    stay_user(ruling, NULL, "user", config->user);
    stay_group(ruling, NULL, "group", config->group, ITSELF);
    stay_group(ruling, NULL, "control_group", config->control_group, MEMBER);
    config->user = ruling->self.user;
    config->group = ruling->self.group;
}

/* --- sockets ------------------------------------------------------------------------------- */

static void own_sockets(const struct ruling *ruling, struct pool_config *pool)
{
    struct identity user = pool->identity, group = pool->identity;
    if (pool->socket_user && !identity_user(&user, pool->socket_user, ruling->arena))
        fault_user(ruling, pool, "socket_user", pool->socket_user);
    if (pool->socket_group && !identity_group(&group, pool->socket_group, ruling->arena))
        fault_group(ruling, pool, "socket_group", pool->socket_group);
    pool->socket_uid = user.uid;
    pool->socket_gid = group.gid;
    pool->socket_user = user.user;
    pool->socket_group = group.group;
}

static void own_pool(const struct ruling *ruling, struct pool_config *pool)
{
    if (!ruling->root)
        stay(ruling, pool);
    else if (!become(ruling, pool))
        pool->identity = (struct identity){0};
    own_sockets(ruling, pool);
    pool->user = pool->identity.user;
    pool->group = pool->identity.group;
}

void owners_apply(const struct ruling *ruling)
{
    struct config *config = ruling->config;
    struct identity found = {0};
    for (int i = 0; i < config->pool_count; i++)
        own_pool(ruling, ruling_pool(ruling, i));
    if (ruling->root)
        own_globals(ruling);
    else
        stay_globals(ruling);
    if (config->control_group && !identity_group(&found, config->control_group, ruling->arena))
        fault_group(ruling, NULL, "control_group", config->control_group);
    config->control_gid = found.group ? found.gid : IDENTITY_NO_GROUP;
}
