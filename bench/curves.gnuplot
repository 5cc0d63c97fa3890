# gnuplot -c curves.gnuplot TABLES PICTURE: draws the tables of bench/curves, which are Markdown.
tables = ARG1
set terminal svg size 1000,1050 font "sans-serif,12" background rgb "white"
set output ARG2
set datafile separator "|"
rows(table, start) = sprintf("< grep '^| %s' %s/%s", start, tables, table)
set multiplot layout 3,2
set rmargin 4
set key left top samplen 2
set style data linespoints

set logscale xy
set title "A free and a malloc, 500 call sites, half load"
set xlabel "live blocks"
set ylabel "ns"
set yrange [1:*]
plot rows("live", "[0-9]") using 2:3 title "plain", "" using 2:4 title "traced", \
     "" using 2:5 title "get\\_traced\\_memory"

set title "Questions, 500 call sites"
set ylabel "us"
plot rows("live", "[0-9]") using 2:6 title "snapshot", "" using 2:7 title "statistics", \
     "" using 2:8 title "compare"

set title "Questions, 100,000 live blocks"
set xlabel "call sites"
plot rows("sites", "[0-9]") using 2:3 title "snapshot", "" using 2:4 title "statistics", \
     "" using 2:5 title "compare"

unset logscale x
set title "A free and a malloc as the table fills"
set xlabel "load, %"
set ylabel "ns"
set yrange [*:*]
kinds = "heap random every 8 64 1 2"
names = "heap random 4_KiB 8_KiB 64_KiB 1_MiB 2_MiB"
plot for [i = 1:7] rows("full", word(kinds, i)." ") using 3:8 title word(names, i) noenhanced

set title "Longest probe after churn"
set ylabel "slots"
plot for [i = 1:7] rows("full", word(kinds, i)." ") using 3:10 title word(names, i) noenhanced

unset logscale
set title "With time: churn at 60 % load"
set xlabel "operations"
set ylabel "ns"
set yrange [0:*]
set format x "%.0e"
set xtics rotate by -30
plot rows("time", "[0-9]") using 2:3 title "least of 100 parts", "" using 2:5 title "average probe, slots"
