/* Prometheus' text format. */
#include "node/metrics.h"

#include "tests/test.h"

TEST(families_and_samples_are_written_as_the_format_says)
{
    struct px_buf out;
    struct px_metrics m = {.out = &out};
    const struct px_metric_label labels[] = {{"peer", "a"}, {"path", "b"}};
    px_buf_init(&out, 4096);
    px_metrics_family(&m, "x_bytes_total", PX_METRIC_COUNTER, "Bytes.");
    px_metrics_u64(&m, NULL, 0, UINT64_MAX);
    px_metrics_u64(&m, labels, 2, 1);
    px_metrics_family(&m, "x_seconds", PX_METRIC_GAUGE, "Time.");
    px_metrics_real(&m, labels, 1, 0.25);
    CHECK_OK(out.err);
    CHECK_SLICE(px_buf_slice(&out),
                px_slice_cstr("# HELP x_bytes_total Bytes.\n# TYPE x_bytes_total counter\n"
                              "x_bytes_total 18446744073709551615\n"
                              "x_bytes_total{peer=\"a\",path=\"b\"} 1\n"
                              "# HELP x_seconds Time.\n# TYPE x_seconds gauge\n"
                              "x_seconds{peer=\"a\"} 0.25\n"));
    px_buf_deinit(&out);
}

TEST(no_label_value_can_forge_a_line)
{
    struct px_buf out;
    struct px_metrics m = {.out = &out};
    const struct px_metric_label label = {"peer", "a\"} 1\nevil 2\\\x1b\xff"};
    px_buf_init(&out, 4096);
    px_metrics_family(&m, "x", PX_METRIC_GAUGE, "X.");
    px_metrics_u64(&m, &label, 1, 0);
    CHECK_SLICE(px_buf_slice(&out), px_slice_cstr("# HELP x X.\n# TYPE x gauge\n"
                                                  "x{peer=\"a\\\"} 1\\nevil 2\\\\??\"} 0\n"));
    px_buf_deinit(&out);
}
