/* The narinfo text: "Key: value" lines (Nix binary cache protocol). What Nix would call corrupt is
 * refused, and more: a value Nix accepts in two places must not mean two things to us. */
#include "proto/base/encoding.h"
#include "proto/path_info.h"

/* The keys that matter; the others (FileHash, FileSize, System …) are skipped. */
enum key {
    KEY_STORE_PATH,
    KEY_URL,
    KEY_COMPRESSION,
    KEY_NAR_HASH,
    KEY_NAR_SIZE,
    KEY_REFERENCES,
    KEY_DERIVER,
    KEY_SIG,
    KEY_CA,
};

static const char *const key_names[] = {
    [KEY_STORE_PATH] = "StorePath", [KEY_URL] = "URL",          [KEY_COMPRESSION] = "Compression",
    [KEY_NAR_HASH] = "NarHash",     [KEY_NAR_SIZE] = "NarSize", [KEY_REFERENCES] = "References",
    [KEY_DERIVER] = "Deriver",      [KEY_SIG] = "Sig",          [KEY_CA] = "CA",
};

static int set_store_path(struct px_path_info *p, struct px_slice value)
{
    struct px_slice dir, name;
    int err = px_store_path_split(value, &dir, &name);
    return err != 0 ? err : px_path_info_set_str(p, &p->store_path, value);
}

static int set_nar_size(struct px_path_info *p, struct px_slice value)
{
    uint64_t size;
    int err = px_slice_parse_u64(value, &size);
    if (err != 0 || size == 0)
        return PX_EPARSE;
    p->nar_size = size;
    return 0;
}

static int add_refs(struct px_path_info *p, struct px_slice value)
{
    struct px_slice ref;
    int err = 0;
    while (err == 0 && px_slice_split(&value, ' ', &ref))
        if (ref.len > 0)
            err = px_path_info_add_ref(p, ref);
    return err;
}

/* Nobody signs it and nothing depends on it: a strange one ("unknown-deriver" among them) is
 * dropped, not a reason to refuse the path. */
static int set_deriver(struct px_path_info *p, struct px_slice value)
{
    if (!px_store_base_name_valid(value))
        return 0;
    return px_path_info_set_str(p, &p->deriver, value);
}

/* One word: URL, compression or content address. */
static int set_word(struct px_path_info *p, struct px_slice *field, struct px_slice value)
{
    if (value.len == 0 || memchr(value.data, ' ', value.len) != NULL)
        return PX_EPARSE;
    return px_path_info_set_str(p, field, value);
}

static int set_field(struct px_path_info *p, enum key key, struct px_slice value)
{
    switch (key) {
    case KEY_STORE_PATH:
        return set_store_path(p, value);
    case KEY_URL:
        return set_word(p, &p->url, value);
    case KEY_COMPRESSION:
        return set_word(p, &p->compression, value);
    case KEY_NAR_HASH:
        return px_nix_sha256_parse(value, p->nar_hash);
    case KEY_NAR_SIZE:
        return set_nar_size(p, value);
    case KEY_REFERENCES:
        return add_refs(p, value);
    case KEY_DERIVER:
        return set_deriver(p, value);
    case KEY_SIG:
        return px_path_info_add_sig(p, value);
    case KEY_CA:
        return set_word(p, &p->ca, value);
    }
    return PX_EPARSE;
}

/* No carriage return, no other control byte, nothing outside ASCII. */
static bool line_printable(struct px_slice line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] < ' ' || line.data[i] >= 0x7f)
            return false;
    return true;
}

/* `seen` has one bit a key: all but Sig may come once. */
static int parse_line(struct px_path_info *p, struct px_slice line, unsigned *seen)
{
    struct px_slice key, value = line;
    if (!line_printable(line))
        return PX_EPARSE;
    if (line.len == 0 || memchr(line.data, ':', line.len) == NULL)
        return 0;
    (void)px_slice_split(&value, ':', &key);
    for (unsigned i = 0; i < PX_ARRAY_LEN(key_names); i++) {
        if (!px_slice_eq_cstr(key, key_names[i]))
            continue;
        if ((*seen & 1u << i) != 0 && i != KEY_SIG)
            return PX_EPARSE;
        *seen |= 1u << i;
        if (value.len > 0 && value.data[0] == ' ')
            value = px_slice_skip(value, 1);
        return set_field(p, (enum key)i, value);
    }
    return 0;
}

static int parse(struct px_path_info *p, struct px_slice text)
{
    const unsigned needed = 1u << KEY_STORE_PATH | 1u << KEY_NAR_HASH | 1u << KEY_NAR_SIZE;
    unsigned seen = 0;
    struct px_slice line;
    /* a last line without its end may be half a line */
    if (text.len == 0 || text.data[text.len - 1] != '\n')
        return PX_EPARSE;
    while (px_slice_split(&text, '\n', &line)) {
        int err = parse_line(p, line, &seen);
        if (err != 0)
            return err;
    }
    return (seen & needed) == needed ? 0 : PX_EPARSE;
}

int px_narinfo_parse(struct px_slice text, struct px_path_info **ret)
{
    if (text.len > PX_NARINFO_MAX)
        return PX_ELIMIT;
    struct px_path_info *p = px_path_info_new();
    if (p == NULL)
        return PX_ENOMEM;
    int err = parse(p, text);
    if (err != 0) {
        px_path_info_free(p);
        return err;
    }
    px_path_info_sort_refs(p);
    *ret = p;
    return 0;
}

static void put_line(struct px_buf *out, enum key key, struct px_slice value)
{
    (void)px_buf_put_cstr(out, key_names[key]);
    (void)px_buf_put_cstr(out, ": ");
    (void)px_buf_put(out, value);
    (void)px_buf_put_u8(out, '\n');
}

static void put_line_if(struct px_buf *out, enum key key, struct px_slice value)
{
    if (value.len > 0)
        put_line(out, key, value);
}

int px_narinfo_format(const struct px_path_info *p, struct px_buf *out)
{
    put_line(out, KEY_STORE_PATH, p->store_path);
    put_line_if(out, KEY_URL, p->url);
    put_line_if(out, KEY_COMPRESSION, p->compression);
    (void)px_buf_printf(out, "%s: sha256:", key_names[KEY_NAR_HASH]);
    (void)px_nix32_encode(out, px_slice(p->nar_hash, sizeof(p->nar_hash)));
    (void)px_buf_printf(out, "\n%s: %llu\n%s:", key_names[KEY_NAR_SIZE],
                        (unsigned long long)p->nar_size, key_names[KEY_REFERENCES]);
    for (size_t i = 0; i < p->ref_count; i++) {
        (void)px_buf_put_u8(out, ' ');
        (void)px_buf_put(out, p->refs[i]);
    }
    /* Nix looks for the blank behind the colon */
    (void)px_buf_put_cstr(out, p->ref_count > 0 ? "\n" : " \n");
    put_line_if(out, KEY_DERIVER, p->deriver);
    for (size_t i = 0; i < p->sig_count; i++)
        put_line(out, KEY_SIG, p->sigs[i]);
    put_line_if(out, KEY_CA, p->ca);
    return out->err;
}
