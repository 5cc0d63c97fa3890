# gnuplot -c curves.gnuplot TABLES PICTURE: draws the Markdown tables of bench/curves.
# Legends are below their plots and hide nothing. Axes extend a little beyond the first and last point.
tables = ARG1
set terminal svg size 1000,1240 font "sans-serif,12" background rgb "white"
set output ARG2
set datafile separator "|"
rows(table, start) = sprintf("< grep '^| %s' %s/%s", start, tables, table)
set multiplot layout 3,2
set lmargin 13
set rmargin 5
set tmargin 3
set bmargin 8.5
set key bmargin center horizontal samplen 2 width 1
set style data linespoints
set border 3 lc rgb "#444444"
set tics nomirror out
set grid ytics lc rgb "#dddddd"
set format x "%.0s%c"

set logscale xy
set title "A free and a malloc, 500 call sites, half load"
set xlabel "live blocks" offset 0,0.4
set ylabel "ns"
set xrange [500:2e7]
plot rows("live", "[0-9]") using 2:3 title "plain", "" using 2:4 title "traced", \
     "" using 2:5 title "get\\_traced\\_memory"

set title "Questions, 500 call sites"
set ylabel "us"
set yrange [1:1000]
plot rows("live", "[0-9]") using 2:6 title "snapshot", "" using 2:7 title "statistics", \
     "" using 2:8 title "compare"
set yrange [*:*]

set title "Questions, 100,000 live blocks"
set xlabel "call sites" offset 0,0.4
set xrange [70:8e4]
plot rows("sites", "[0-9]") using 2:3 title "snapshot", "" using 2:4 title "statistics", \
     "" using 2:5 title "compare"

unset logscale x
set format x "%.0f"
set title "A free and a malloc as the table fills"
set xlabel "load, %" offset 0,0.4
set xrange [20:105]
set ylabel "ns"
kinds = "heap random every 8 64 1 2"
array names[7] = ["heap", "random", "every 4 KiB", "every 8 KiB", "64 KiB", "1 MiB", "2 MiB"]
plot for [i = 1:7] rows("full", word(kinds, i)." ") using 3:8 title names[i]

set title "Longest probe after churn"
set ylabel "slots"
plot for [i = 1:7] rows("full", word(kinds, i)." ") using 3:10 title names[i]

unset logscale
set title "With time: churn, ever new addresses"
set xlabel "operations" offset 0,0.4
set xrange [0:*]
set autoscale xfixmax
set offsets 0, graph 0.05, 0, 0
set ylabel "ns"
set yrange [0:*]
set format x "%.0s%c"
plot rows("time", "[0-9]") using 2:3 title "least of 100 parts, ns", "" using 2:5 title "average probe, slots"
