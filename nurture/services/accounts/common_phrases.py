"""Phrases that many people know: nobody needs to guess their words one by one. Lists of leaked passwords hold them without
spaces, with dashes, in capitals and with a digit after them.
"""

KNOWN_PHRASES = tuple(
    line.strip()
    for line in """
        a bird in the hand is worth two in the bush
        a horse a horse my kingdom for a horse
        a journey of a thousand miles begins with a single step
        a long time ago in a galaxy far far away
        a penny saved is a penny earned
        a picture is worth a thousand words
        a rose by any other name would smell as sweet
        actions speak louder than words
        all animals are equal but some animals are more equal than others
        all my loving i will send to you
        all that glitters is not gold
        all the worlds a stage
        all work and no play makes jack a dull boy
        all you need is love
        all your base are belong to us
        always look on the bright side of life
        amazing grace how sweet the sound
        an apple a day keeps the doctor away
        and they lived happily ever after
        ask and it shall be given you
        ask not what your country can do for you
        battery horse staple correct
        be the change you wish to see in the world
        beam me up scotty
        beauty is in the eye of the beholder
        better late than never
        birds of a feather flock together
        bohemian rhapsody
        breathe in breathe out
        call me ishmael
        carpe diem quam minimum credula postero
        change your password now
        cogito ergo sum
        come as you are as you were
        correct battery horse staple
        correct horse battery staple
        correct horse staple battery
        do or do not there is no try
        do unto others as you would have them do unto you
        dont count your chickens before they hatch
        dont judge a book by its cover
        dont panic
        dont stop believing
        dont worry be happy
        early to bed and early to rise
        easy come easy go
        elementary my dear watson
        every breath you take every move you make
        every cloud has a silver lining
        everything happens for a reason
        everything in its right place
        fear is the mind killer
        feel the fear and do it anyway
        for god so loved the world
        four score and seven years ago
        frankly my dear i dont give a damn
        friends romans countrymen lend me your ears
        give me liberty or give me death
        give us this day our daily bread
        go ahead make my day
        god bless america land that i love
        god grant me the serenity
        good things come to those who wait
        hakuna matata
        happy birthday to you
        hello darkness my old friend
        here comes the sun
        heres looking at you kid
        home is where the heart is
        home sweet home
        honesty is the best policy
        houston we have a problem
        humpty dumpty sat on a wall
        i am the master of my fate i am the captain of my soul
        i am your father
        i cant get no satisfaction
        i forgot my password
        i have a dream
        i love you more than anything
        i love you so much
        i love you to the moon and back
        i love you very much
        i think therefore i am
        i want to hold your hand
        i will always love you
        if at first you dont succeed try try again
        ill be back
        im gonna make him an offer he cant refuse
        imagine all the people
        in god we trust
        in the beginning god created the heaven and the earth
        in the beginning was the word
        in the end it doesnt even matter
        is this the real life is this just fantasy
        it is a truth universally acknowledged
        it was a bright cold day in april
        it was a dark and stormy night
        it was the best of times it was the worst of times
        jack and jill went up the hill
        jesus is my lord and savior
        jesus loves me this i know
        jingle bells jingle bells jingle all the way
        just do it
        keep calm and carry on
        keep it simple stupid
        knowledge is power
        laughter is the best medicine
        let it be let it be
        let me in please
        let there be light
        life is like a box of chocolates
        life is what happens when youre busy making other plans
        like a bridge over troubled water
        like a rolling stone
        live laugh love
        live long and prosper
        liverpool you will never walk alone
        london bridge is falling down
        lorem ipsum dolor sit amet
        love is all you need
        love thy neighbor as thyself
        luke i am your father
        make america great again
        make love not war
        mary had a little lamb
        may the force be with you
        monkey see monkey do
        my name is inigo montoya you killed my father prepare to die
        my precious
        never gonna give you up never gonna let you down
        no pain no gain
        nobody expects the spanish inquisition
        not all those who wander are lost
        nothing is impossible
        now is the time for all good men to come to the aid of the party
        o say can you see by the dawns early light
        of mice and men
        off with her head
        old macdonald had a farm
        once upon a time
        one day at a time
        one for all and all for one
        one giant leap for mankind
        one ring to rule them all
        one small step for man
        open sesame
        our father who art in heaven
        our father which art in heaven
        pack my box with five dozen liquor jugs
        practice makes perfect
        rain rain go away come again another day
        red sky at night
        rock a bye baby on the tree top
        romeo romeo wherefore art thou romeo
        rome was not built in a day
        roses are red violets are blue
        row row row your boat gently down the stream
        semper fidelis
        shall i compare thee to a summers day
        should auld acquaintance be forgot
        show me the money
        slow and steady wins the race
        somewhere over the rainbow
        speak friend and enter
        stairway to heaven
        strawberry fields forever
        sweet dreams are made of this
        sweet home alabama
        take it easy
        take me out to the ball game
        thats one small step for man
        the answer is forty two
        the cake is a lie
        the early bird catches the worm
        the five boxing wizards jump quickly
        the grass is always greener on the other side
        the itsy bitsy spider
        the lord is my shepherd i shall not want
        the only thing we have to fear is fear itself
        the pen is mightier than the sword
        the quick brown fox jumps over the lazy dog
        the rain in spain stays mainly in the plain
        the road goes ever on and on
        the spirit is willing but the flesh is weak
        the sun will come out tomorrow
        the times they are a changin
        the truth is out there
        the truth will set you free
        the winter of our discontent
        there is no place like home
        theres no place like home
        they may take our lives but theyll never take our freedom
        this above all to thine own self be true
        this is my password
        this is my new password
        this is not my password
        this is the way the world ends
        this land is your land
        this little light of mine
        this password is secure
        this too shall pass
        three blind mice
        time flies when youre having fun
        time is money
        to be or not to be that is the question
        to err is human to forgive divine
        to infinity and beyond
        toto ive a feeling were not in kansas anymore
        trust no one
        twinkle twinkle little star how i wonder what you are
        two roads diverged in a yellow wood
        two wrongs dont make a right
        united we stand divided we fall
        veni vidi vici
        we are the champions my friends
        we hold these truths to be self evident
        we shall overcome
        we the people of the united states
        we will rock you
        what doesnt kill you makes you stronger
        what goes around comes around
        when in rome do as the romans do
        when life gives you lemons make lemonade
        where there is a will there is a way
        who let the dogs out
        winter is coming
        wish you were here
        with great power comes great responsibility
        with or without you
        wubba lubba dub dub
        yes we can
        you are my sunshine my only sunshine
        you cant always get what you want
        you cant handle the truth
        you only live once
        you shall not pass
        youll never walk alone
    """.splitlines()
    if line.strip()
)
