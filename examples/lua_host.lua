-- A small word index: reads a text, indexes its words, writes a report, answers questions.

local text = [[
A level is loaded and memory is taken. A level is unloaded and memory is given back.
What is taken and never given back is a leak, and a leak is found by the line that took it.
]]

-- Every word, and the positions it was seen at.
local function index_words(source)
    local index, count = {}, 0
    for word in source:lower():gmatch("%a+") do
        count = count + 1
        local seen = index[word]
        if not seen then
            seen = {}
            index[word] = seen
        end
        seen[#seen + 1] = count
    end
    return index, count
end

-- Each step makes a longer string; all but the last become garbage.
local function write_report(index)
    local report = ""
    for word, seen in pairs(index) do
        report = report .. word .. ": " .. table.concat(seen, " ") .. "\n"
    end
    return report
end

local index, count = index_words(text:rep(50))
local report = write_report(index)
local cache = {}

-- Answers are kept for the next time, but every question is new: the cache only grows.
local function find(word, asker)
    local question = word .. " for asker number " .. asker
    if not cache[question] then
        cache[question] = { asker = asker, positions = index[word] }   -- the leak
    end
    return #cache[question].positions
end

local found = 0
for asker = 1, 500 do
    found = found + find("leak", asker)
end
print(("%d words, a report of %d bytes, %d times found"):format(count, #report, found))

return function() return index, report, cache end   -- what the program would go on with
